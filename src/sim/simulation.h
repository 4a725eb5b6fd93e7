// Simulation: one run of a scenario with one contestant and one seed.
//
// A web cluster under a virtual clock.  Servers, requests and the network are a model; what decides
// who serves a request is the module's own code: Chain and decide() over a ClusterView, reports
// made by ServiceMeter, counters and latencies in the module's own structures.
//
// One thread; the same scenario, contestant and seed give the same outcome to the last bit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "sim/knowledge.h"
#include "sim/outcome.h"
#include "sim/scenario.h"

namespace backhand::sim {

struct RunHooks {
    // Called now and then with the share that is done; false ends the run.
    std::function<bool(double)> progress;
    // In place of LazyKnowledge: for tests.
    std::function<std::unique_ptr<Knowledge>(const Scenario&, const Air&)> make_knowledge;
};

Outcome simulate(const Scenario& scenario, const Contestant& contestant, std::uint64_t seed,
                 const RunHooks& hooks = {});

}  // namespace backhand::sim
