// A cluster table in memory that forked processes share, as httpd's is, and servers to put into it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include "cluster/exchange_numbers.h"
#include "cluster/table.h"

namespace backhand {

class TableFixture {
public:
    explicit TableFixture(std::uint32_t slots_max = 16, std::uint32_t cells_max = 8)
        : slots_max_(slots_max),
          bytes_(ClusterTable::bytes_needed({slots_max, cells_max})),
          mapping_(bytes_ + beyond_bytes),
          table_(ClusterTable::create(mapping_.start, {slots_max, cells_max})) {
        ASAN_POISON_MEMORY_REGION(mapping_.start + bytes_, beyond_bytes);
    }

    const ClusterTable& operator*() const { return table_; }

    const ClusterTable* operator->() const { return &table_; }

    std::byte* at(std::size_t offset) const { return mapping_.start + offset; }

    // Every byte of the table.
    std::vector<std::byte> copy() const { return {at(0), at(bytes_)}; }

    // Leaves a slot as a writer does that dies in the middle of a report.  The slots are the last
    // region, and a slot begins with its version, which is odd while it is written.
    void break_off_writing(std::uint32_t slot_index) const {
        // What 64 servers more need, less what they need in the regions before the slots.
        constexpr std::size_t count = 64;
        constexpr std::size_t before_bytes = 3 * 8 + 64 + 72 + sizeof(ExchangeNumbers);
        const std::size_t slot_bytes =
            (ClusterTable::bytes_needed({2 * count, 0}) - ClusterTable::bytes_needed({count, 0})) /
                count -
            before_bytes;
        std::byte* const slot = at(bytes_ - (slots_max_ - slot_index) * slot_bytes);
        std::uint64_t version = 0;
        std::memcpy(&version, slot, sizeof version);
        std::byte* const spare = slot + sizeof version + (version + 1) % 2 * sizeof(ServerReport);
        std::memset(spare, 0xAB, 40);
    }

private:
    static constexpr std::size_t beyond_bytes = 4096;

    struct Mapping {
        explicit Mapping(std::size_t size)
            : bytes(size),
              start(static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
            if (start == MAP_FAILED) {
                throw std::bad_alloc{};
            }
        }

        Mapping(const Mapping&) = delete;
        Mapping& operator=(const Mapping&) = delete;

        ~Mapping() {
            ASAN_UNPOISON_MEMORY_REGION(start, bytes);
            ::munmap(start, bytes);
        }

        std::size_t bytes;
        std::byte* start;
    };

    std::uint32_t slots_max_;
    std::size_t bytes_;
    Mapping mapping_;
    ClusterTable table_;
};

// Server `number` of a cluster on 10.0.0.0/24, which has just reported.
inline ServerReport report_of(std::uint8_t number, MonotonicTime received_at) {
    ServerReport report;
    report.set_name("server" + std::to_string(number));
    report.add_service("www.example.com");
    LoadReport& load = report.load;
    load.contact = *Endpoint::parse("10.0.0." + std::to_string(number) + ":80");
    load.boot_id = 1;
    load.measurement = 1;
    load.received_at = received_at;
    load.workers_max = 10;
    load.workers_idle = 10;
    load.memory_total_bytes = 1000;
    load.memory_available_bytes = 1000;
    return report;
}

}  // namespace backhand
