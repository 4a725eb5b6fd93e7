// What the tests of whole decisions share: every built-in function as a line, and a cluster in
// which self has so much to do that every decision goes all the way.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "decide/chain.h"
#include "decisions.h"

namespace backhand {

struct BuiltInLine {
    std::string_view name;
    std::string_view argument;
    bool permutes;  // keeps every member; the others only ever remove, or add self
};

constexpr std::array built_in_lines = {
    BuiltInLine{"byAge", "2", false},
    BuiltInLine{"byBusyChildren", "1", true},
    BuiltInLine{"byCost", "", true},
    BuiltInLine{"byCPU", "", true},
    BuiltInLine{"byHealth", "", false},
    BuiltInLine{"byHeader", "X-Class ^a", false},
    BuiltInLine{"byHost", "^www", false},
    BuiltInLine{"byHotCold", "", true},
    BuiltInLine{"byInFlight", "", true},
    BuiltInLine{"byInterpretedLoad", "", true},
    BuiltInLine{"byLatency", "", true},
    BuiltInLine{"byLoad", "0.5", true},
    BuiltInLine{"byLogWindow", "", false},
    BuiltInLine{"byPath", "^/", false},
    BuiltInLine{"byProbe", "3", true},
    BuiltInLine{"byRandom", "", true},
    BuiltInLine{"bySession", "id", false},
    BuiltInLine{"bySlowStart", "30", false},
    BuiltInLine{"byWeighted", "", true},
    BuiltInLine{"byWindow", "3", false},
    BuiltInLine{"addPrediction", "", true},
    BuiltInLine{"HTTPRedirectToIP", "", true},
    BuiltInLine{"HTTPRedirectToName", "%1S.%-1H", true},
    BuiltInLine{"removeSelf", "", false},
    BuiltInLine{"addSelf", "", false},
    BuiltInLine{"preferSelf", "1", false},
};

// A cluster of `size` equal servers, of which self has much to do.
class BusyCluster {
public:
    explicit BusyCluster(std::uint32_t size) : table_(1024, 8) {
        table_->set_self(report_from(self_slot));
        const ChildTally tally = table_->cells().claim(1);
        for (int count = 0; count < 50; ++count) {
            tally.serving_began();
        }
        for (std::uint32_t number = 1; number < size; ++number) {
            table_->take(report_from(number));
        }
        request_.host = "www.example.com";
        request_.path = "/app?x=y";
        request_.service_hash = hash_ignoring_case("www.example.com");
        facts_.headers = {{"X-Class", "a"}, {"Cookie", "a=b; id=ffffffff"}};
        facts_.time = std::chrono::milliseconds{3};
        request_.facts = &facts_;
    }

    DecisionContext context() {
        return {request_, *table_, random_, decided_at, std::chrono::microseconds{100}};
    }

private:
    static ServerReport report_from(std::uint32_t number) {
        ServerReport report = report_of(static_cast<std::uint8_t>(number % 250 + 1), decided_at);
        report.load.contact.port = static_cast<std::uint16_t>(1000 + number);
        report.load.workers_idle = 4000;
        report.load.load_permille = number * 37 % 1000;
        report.load.serving = number % 7;
        report.load.latency_us = 1000 + number % 13;
        return report;
    }

    TableFixture table_;
    FactsOfATest facts_;
    RequestView request_;
    Random random_{4711};
};

inline Chain chain_of(const std::vector<std::pair<const char*, const char*>>& written) {
    Chain chain;
    for (const auto& [name, argument] : written) {
        EXPECT_TRUE(chain.append(name, argument)) << name;
    }
    return chain;
}

}  // namespace backhand
