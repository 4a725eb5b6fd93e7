// DropLog: tells the operator what was dropped, without letting whoever sends it fill the disk.
//
// Everything is counted; a line is written at most once a second, and says what has been dropped
// since the line before.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "base/clock.h"
#include "cluster/counters.h"

namespace backhand {

class DropLog {
public:
    // A datagram `from` there was dropped for the reason that the counter names.
    void note(Counter reason, const IpAddress& from);

    // The line to write now, if there is one.
    std::optional<std::string> line(MonotonicTime now);

private:
    std::array<std::uint64_t, counters_count> dropped_{};
    IpAddress last_from_;
    bool any_ = false;
    MonotonicTime written_at_ = 0;
};

}  // namespace backhand
