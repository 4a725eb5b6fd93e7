// Simulation, the part that decides who serves a request: the module's own chains, on what the
// server that decides knows by then.
#include <algorithm>

#include "sim/simulating.h"

namespace backhand::sim {

namespace {

// What a chain may ask about a request; of its head nothing is known.
class SimulatedFacts final : public RequestFacts {
public:
    SimulatedFacts(const LocationTimes& locations, std::uint64_t location)
        : locations_(locations),
          location_(location) {}

    std::optional<std::string_view> header(const char*, std::size_t) const override { return {}; }

    std::optional<std::string_view> environment(const char*) const override { return {}; }

    IpAddress client() const override { return {}; }

    bool is_tls() const override { return false; }

    std::string_view virtual_host() const override { return {}; }

    std::optional<Nanoseconds> location_time() const override { return locations_.mean(location_); }

private:
    const LocationTimes& locations_;
    std::uint64_t location_;
};

// Asks simulated servers.  What they answer is what they have to do at the moment of the decision;
// the request goes on only when the answers would have come.
class AskingServer final : public Prober {
public:
    AskingServer(Simulation& simulation, std::uint32_t asker)
        : simulation_(simulation),
          asker_(asker) {}

    void ask(std::span<const std::uint32_t> slots,
             std::span<std::optional<ProbeAnswer>> answers) const override;

private:
    Simulation& simulation_;
    std::uint32_t asker_;
};

}  // namespace

void Simulation::place(std::uint32_t number) {
    Request& request = requests_[number];
    Server& server = servers_[request.ingress];
    request.peers_count = request.peers_tried = 0;
    if (reference_) {
        --server.assigned;  // it is nowhere yet
        const std::uint32_t chosen = reference_->choose(request.ingress, now_);
        ++server.assigned;
        if (chosen != request.ingress) {
            request.peers[0] = chosen;
            request.peers_count = 1;
        }
        ++outcome_.decisions;
    } else if (announces_) {
        asked_ = 0;
        answers_after_ = 0;
        decide_by_chain(request, server);
        if (asked_ != 0) {
            request.answers_after = answers_after_;
            request.stage = Stage::asks;
            begin_cpu(request.ingress, number,
                      scenario_.asking.asker_ns + asked_ * scenario_.asking.asker_per_server_ns);
            return;
        }
    }
    placed(number);
}

// It is decided who serves it.
void Simulation::placed(std::uint32_t number) {
    const Request& request = requests_[number];
    mix(request.number << 20U ^ (request.peers_count == 0 ? request.ingress : request.peers[0]));
    if (request.peers_count == 0) {
        serve(number);
    } else {
        forward(number);
    }
}

// As in httpd/deciding.cc.
void Simulation::decide_by_chain(Request& request, Server& server) {
    const Chain& chain = *contestant_.chain;
    if (static_cast<double>(server.serving) - 1 < chain.self_stays_below()) {
        return;
    }
    ++outcome_.decisions;
    const SimulatedFacts facts{records_[request.ingress]->locations,
                               location_of_class(request.kind)};
    const RequestView view{.method = "GET",
                           .host = "www.example.com",
                           .path = scenario_.classes[request.kind].path,
                           .service_hash = site_hash,
                           .facts = &facts};
    const ClusterView& seen = knowledge_->seen_by(request.ingress, server.serving, now_);
    Random random{decisions_random_.next()};
    const AskingServer prober{*this, request.ingress};
    const DecisionContext context{
        .request = view,
        .table = seen,
        .random = random,
        .now = now_,
        .forwarding_cost = knowledge_->forwarding_cost(request.ingress, now_),
        .prober = &prober};
    decide(chain, context, set_, decision_);
    const std::uint32_t running = std::min(server.report.workers_max,
                                           server.report.workers_busy + server.report.workers_idle);
    if (decision_.peers.empty() || server.forwarding + 1 > running / 2) {
        return;
    }
    request.peers_count =
        static_cast<std::uint8_t>(std::min(decision_.peers.size(), peers_tried_max));
    for (std::size_t index = 0; index < request.peers_count; ++index) {
        request.peers[index] = knowledge_->server_in(request.ingress, decision_.peers[index]);
    }
}

void AskingServer::ask(std::span<const std::uint32_t> slots,
                       std::span<std::optional<ProbeAnswer>> answers) const {
    simulation_.ask(asker_, slots, answers);
}

void Simulation::ask(std::uint32_t asker, std::span<const std::uint32_t> slots,
                     std::span<std::optional<ProbeAnswer>> answers) {
    const auto limit = static_cast<MonotonicTime>(Prober::limit.count());
    for (std::size_t index = 0; index < slots.size(); ++index) {
        const std::uint32_t asked = knowledge_->server_in(asker, slots[index]);
        const Server& server = servers_[asked];
        const Network& network = scenario_.network;
        ++asked_;
        ++outcome_.questions;
        answers[index].reset();
        MonotonicTime takes = limit;
        const double way_there = network.jitter_ns * asking_random_.fraction();
        const double way_back = network.jitter_ns * asking_random_.fraction();
        const bool question_lost = asking_random_.fraction() < network.loss;
        const bool answer_lost = asking_random_.fraction() < network.loss;
        if (server.up && !server.hangs && !question_lost && !air_.parted(asker, asked, now_)) {
            begin_cpu(asked, nobody, scenario_.asking.asked_ns);
            const double both_ways = 2 * network.delay_ns + way_there + way_back;
            if (!answer_lost && both_ways < static_cast<double>(limit)) {
                answers[index] = {.serving = server.serving, .workers_idle = server.workers_idle()};
                takes = static_cast<MonotonicTime>(both_ways);
            }
        }
        answers_after_ = std::max(answers_after_, takes);
    }
}

}  // namespace backhand::sim
