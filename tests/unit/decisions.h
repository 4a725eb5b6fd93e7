// What the tests of decisions share: servers, sets of them, and requests of which something is
// known.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "decide/builtin.h"
#include "decide/candidacy.h"
#include "table_fixture.h"

namespace backhand {

constexpr MonotonicTime decided_at = 100'000'000'000;

// Healthy, with nothing to do.
inline ServerView server(std::uint32_t slot_index) {
    ServerView view;
    view.slot_index = slot_index;
    view.workers_idle = 10;
    view.load.contact.address = *IpAddress::parse("10.0." + std::to_string((slot_index + 1) / 256) +
                                                  "." + std::to_string((slot_index + 1) % 256));
    view.load.contact.port = 80;
    view.name_hash = hash_ignoring_case("web" + std::to_string(slot_index + 1));
    return view;
}

// The first is self.
inline CandidacySet set_of(const std::vector<ServerView>& servers) {
    CandidacySet set;
    set.begin(servers.front());
    for (std::size_t index = 1; index < servers.size(); ++index) {
        set.add(servers[index]);
    }
    return set;
}

inline CandidacySet set_of_size(std::uint32_t size) {
    std::vector<ServerView> servers;
    for (std::uint32_t slot_index = 0; slot_index < size; ++slot_index) {
        servers.push_back(server(slot_index));
    }
    return set_of(servers);
}

inline std::vector<std::uint32_t> slots_of(const CandidacySet& set) {
    std::vector<std::uint32_t> slots;
    for (std::size_t position = 0; position < set.size(); ++position) {
        slots.push_back(set[position].slot_index);
    }
    return slots;
}

class FactsOfATest final : public RequestFacts {
public:
    std::vector<std::pair<std::string, std::string>> headers;
    std::map<std::string, std::string> variables;
    std::optional<Nanoseconds> time;

    std::optional<std::string_view> header(const char* name, std::size_t nth) const override {
        for (const auto& [key, value] : headers) {
            if (equal_ignoring_case(key, name) && nth-- == 0) {
                return value;
            }
        }
        return std::nullopt;
    }

    std::optional<std::string_view> environment(const char* name) const override {
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt
                                        : std::optional<std::string_view>{found->second};
    }

    IpAddress client() const override { return {}; }

    bool is_tls() const override { return false; }

    std::string_view virtual_host() const override { return "www.example.com"; }

    std::optional<Nanoseconds> location_time() const override { return time; }
};

// One decision's surroundings.
struct Surroundings {
    TableFixture table;
    FactsOfATest facts;
    RequestView request;
    std::uint64_t seed = 1;
    MonotonicTime now = decided_at;
    Nanoseconds forwarding_cost{};

    // Runs the functions of one `Backhand` line over the set.
    void run(std::string_view name, std::string_view argument, CandidacySet& set) {
        Random random{seed};
        request.facts = &facts;
        auto made = make_builtin(name, argument);
        ASSERT_TRUE(made) << made.error().detail;
        for (const NamedFunction& function : *made) {
            function.function->apply(set, {request, *table, random, now, forwarding_cost});
        }
    }
};

}  // namespace backhand
