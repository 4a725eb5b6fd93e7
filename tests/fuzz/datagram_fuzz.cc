// Fuzzes the reader of announcements: whatever arrives, it is either dropped or read, and what was
// read can be announced again and reads the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "announce/datagram.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace backhand;
    ServerReport report;
    if (decode_datagram({data, size}, report)) {
        return 0;
    }
    const std::vector<std::uint8_t> again = encode_datagram(report, {});
    ServerReport reread;
    if (again.size() > datagram_bytes_max || decode_datagram(again, reread) ||
        reread.load.boot_id != report.load.boot_id ||
        reread.load.measurement != report.load.measurement ||
        reread.load.contact != report.load.contact || reread.load.serving != report.load.serving) {
        std::abort();
    }
    return 0;
}
