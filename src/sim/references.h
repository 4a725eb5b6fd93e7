// Policies to compare with: bounds that need to know everything at every moment, and what others
// do whose servers keep to themselves.
//
// They place requests directly; what moving one costs is charged to them as to everybody.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/random.h"
#include "sim/scenario.h"
#include "sim/server.h"

namespace backhand::sim {

class ReferencePolicy {
public:
    ReferencePolicy() = default;
    ReferencePolicy(const ReferencePolicy&) = delete;
    ReferencePolicy& operator=(const ReferencePolicy&) = delete;
    virtual ~ReferencePolicy() = default;

    // Who serves a request that has reached `ingress`.
    virtual std::uint32_t choose(std::uint32_t ingress, MonotonicTime now) = 0;

    struct Finished {
        std::uint32_t ingress;
        std::uint32_t server;
        std::uint32_t in_flight_at_arrival;  // there, itself included
        double response_ns;
        double served_in_ns;  // there
        double work_ns;
    };

    // A request is over.
    virtual void finished(const Finished& /*request*/) {}

    // Called every period(), if that is not 0.
    virtual void refresh(MonotonicTime /*now*/) {}

    virtual double period_ns() const { return 0; }
};

// nullptr for Kind::none.  `servers` outlives it.
std::unique_ptr<ReferencePolicy> make_reference(const Reference& reference,
                                                const Scenario& scenario,
                                                const std::vector<Server>& servers,
                                                std::uint64_t seed);

}  // namespace backhand::sim
