// A cluster table in ordinary memory, and servers to put into it.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string>

#include "cluster/table.h"

namespace backhand {

class TableFixture {
public:
    explicit TableFixture(std::uint32_t slots_max = 16, std::uint32_t cells_max = 8)
        : bytes_(ClusterTable::bytes_needed({slots_max, cells_max})),
          memory_(::operator new (bytes_, std::align_val_t{4096})) {
        std::fill_n(static_cast<std::byte*>(memory_), bytes_, std::byte{0});
        table_.emplace(ClusterTable::create(memory_, {slots_max, cells_max}));
    }

    TableFixture(const TableFixture&) = delete;
    TableFixture& operator=(const TableFixture&) = delete;

    ~TableFixture() { ::operator delete (memory_, std::align_val_t{4096}); }

    const ClusterTable& operator*() const { return *table_; }

    const ClusterTable* operator->() const { return &*table_; }

private:
    std::size_t bytes_;
    void* memory_;
    std::optional<ClusterTable> table_;
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
