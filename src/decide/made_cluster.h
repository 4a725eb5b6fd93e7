// Clusters that nobody runs, to try plug-ins with: what a plug-in may meet one day, at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cluster/view.h"
#include "decide/candidacy.h"

namespace backhand {

class MadeCluster final : public ClusterView {
public:
    struct Server {
        ServerView view;
        std::string name;
        std::uint32_t failures_in_a_row = 0;
    };

    // The first server is self.  `what` is how the cluster is called.
    MadeCluster(std::string what, std::vector<Server> servers, bool self_is_member = true);

    const std::string& what() const { return what_; }

    // All servers, self first, unless it is no member.
    void fill(CandidacySet& set) const;

    std::uint32_t slots_used() const override {
        return static_cast<std::uint32_t>(servers_.size());
    }

    std::uint32_t slots_max() const override { return 2048; }

    bool view(std::uint32_t slot_index, std::uint64_t service_hash, MonotonicTime now,
              ServerView& view) const override;
    std::optional<ServerReport> report(std::uint32_t slot_index) const override;

    bool is_ejected(std::uint32_t, MonotonicTime) const override { return false; }

    std::uint32_t failures_in_a_row(std::uint32_t slot_index) const override;

    Counters& counters() const override { return *counters_; }

    LatencyByLoad& latency() const override { return *latency_; }

    LocationTimes& locations() const override { return *locations_; }

private:
    std::string what_;
    std::vector<Server> servers_;
    bool self_is_member_;
    std::unique_ptr<Counters> counters_;
    std::unique_ptr<LatencyByLoad> latency_;
    std::unique_ptr<LocationTimes> locations_;
};

// So many servers like one another, with plausible numbers; with `spread`, numbers of their own.
MadeCluster plausible_cluster(std::string what, std::uint32_t size, bool spread);

// No server; self alone; one peer; many, equal ones, and numbers as extreme as can be announced.
std::vector<MadeCluster> made_clusters();

}  // namespace backhand
