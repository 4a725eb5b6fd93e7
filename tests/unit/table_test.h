// What the tests of the cluster table share: a small table, and servers by name.
#pragma once

#include <cstdint>
#include <string_view>

#include <gtest/gtest.h>

#include "base/text.h"
#include "table_fixture.h"

namespace backhand {

constexpr MonotonicTime start = 1'000'000'000'000;

constexpr MonotonicTime after(Nanoseconds pause) {
    return start + nanoseconds_in(pause);
}

struct TableTest : testing::Test {
    static constexpr ClusterTable::Size size{.slots_max = 4, .cells_max = 3};

    TableFixture memory{size.slots_max, size.cells_max};
    const ClusterTable& table = *memory;

    ServerView view(std::uint32_t slot_index, MonotonicTime now = start) const {
        ServerView result;
        EXPECT_TRUE(table.view(slot_index, 0, now, result));
        return result;
    }
};

// Each name has a contact of its own.
inline ServerReport report_of(std::string_view name, std::uint64_t boot_id,
                              std::uint64_t measurement, MonotonicTime received_at = start) {
    ServerReport report;
    report.set_name(name);
    report.load.boot_id = boot_id;
    report.load.measurement = measurement;
    report.load.received_at = received_at;
    report.load.contact.address = *IpAddress::parse("10.0.0.1");
    report.load.contact.port = static_cast<std::uint16_t>(1024 + hash_ignoring_case(name) % 60'000);
    return report;
}

}  // namespace backhand
