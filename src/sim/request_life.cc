// Simulation, the part that follows one request: its worker, its turn on the CPU, its way to a peer
// and back, what becomes of it when that fails.
#include <algorithm>

#include "sim/simulating.h"

namespace backhand::sim {

void Simulation::come_to(std::uint32_t number, std::uint32_t index) {
    Request& request = requests_[number];
    Server& server = servers_[index];
    request.at = index;
    if (!server.up) {
        // The client's connection is refused.
        end(number, false);
        return;
    }
    request.generation = server.generation;
    if (server.hangs && index != request.ingress) {
        plan_timeout(number);
    }
    if (server.workers_busy == server.group.workers || server.hangs) {
        request.stage = Stage::waits;
        server.backlog.push_back(number);
        return;
    }
    admit(number);
}

void Simulation::plan_timeout(std::uint32_t number) {
    const auto patience = static_cast<MonotonicTime>(scenario_.forwarding.response_timeout_ns);
    events_.add(now_ + patience, Kind::timed_out, number, requests_[number].plan);
}

// It has a worker from now on.
void Simulation::admit(std::uint32_t number) {
    Request& request = requests_[number];
    const std::uint32_t index = request.at;
    Server& server = servers_[index];
    ++server.workers_busy;
    request.in_flight_at_arrival = ++server.serving;
    request.began_at = now_;
    if (request.at == request.ingress) {
        place(number);
    } else {
        serve(number);
    }
    serving_changed(index);
}

void Simulation::begin_cpu(std::uint32_t index, std::uint32_t number, double work) {
    servers_[index].processor.add(number, work, now_);
    set_timer(index);
}

void Simulation::serve(std::uint32_t number) {
    Request& request = requests_[number];
    request.stage = Stage::works;
    const bool proxied = request.at != request.ingress;
    begin_cpu(request.at, number, request.work + (proxied ? scenario_.forwarding.peer_ns : 0));
}

void Simulation::forward(std::uint32_t number) {
    Request& request = requests_[number];
    Server& server = servers_[request.ingress];
    --server.serving;
    ++server.forwarding;
    --server.assigned;
    serving_changed(request.ingress);
    try_next_peer(number);
}

void Simulation::try_next_peer(std::uint32_t number) {
    Request& request = requests_[number];
    if (request.peers_tried == request.peers_count) {
        back_to_serving(number);
        return;
    }
    request.at = request.peers[request.peers_tried++];
    ++request.plan;
    ++servers_[request.at].assigned;
    ++outcome_.moved_work;
    if (announces_) {
        request.sent_at = now_;
        knowledge_->forward_began(request.ingress, request.at, now_);
    }
    // Half of it for the request, half for the response.
    const double work = scenario_.forwarding.forwarder_ns / 2;
    request.stage = Stage::being_sent;
    if (work > 0) {
        begin_cpu(request.ingress, number, work);
        return;
    }
    work_done(number);
}

MonotonicTime Simulation::travel(std::uint32_t, std::uint32_t) {
    const double takes =
        scenario_.network.delay_ns + scenario_.network.jitter_ns * travel_random_.fraction();
    return static_cast<MonotonicTime>(takes);
}

void Simulation::reach_peer(std::uint32_t number) {
    Request& request = requests_[number];
    if (!servers_[request.at].up) {
        ++request.plan;
        events_.add(now_ + travel(request.at, request.ingress), Kind::refused, number,
                    request.plan);
        return;
    }
    come_to(number, request.at);
}

// `ejects`: the peer has not even taken the connection.
void Simulation::peer_failed(std::uint32_t number, bool ejects) {
    if (requests_[number].generation == servers_[requests_[number].at].generation && !ejects) {
        // The peer still has it, and may serve it one day.
        const std::uint32_t orphan = number;
        number = new_request(requests_[orphan]);
        requests_[orphan].orphaned = true;
    }
    Request& request = requests_[number];
    Server& peer = servers_[request.at];
    ++request.plan;
    if (request.ingress_generation != servers_[request.ingress].generation) {
        end(number, false);
        return;
    }
    if (announces_) {
        if (ejects) {
            knowledge_->forward_failed(request.ingress, request.at, now_);
        }
        knowledge_->forward_ended(request.ingress, request.at, now_);
    }
    peer.assigned -= std::min(peer.assigned, 1U);
    if (scenario_.classes[request.kind].repeatable || ejects) {
        try_next_peer(number);
    } else {
        Server& server = servers_[request.ingress];
        --server.forwarding;
        ++server.assigned;
        request.at = request.ingress;
        free_worker(request.ingress);
        end(number, false);
    }
}

// No peer has answered: the request is served where it arrived.
void Simulation::back_to_serving(std::uint32_t number) {
    Request& request = requests_[number];
    Server& server = servers_[request.ingress];
    --server.forwarding;
    ++server.assigned;
    request.at = request.ingress;
    request.in_flight_at_arrival = ++server.serving;
    request.began_at = now_;
    serve(number);
    serving_changed(request.ingress);
}

void Simulation::work_done(std::uint32_t number) {
    if (number == nobody) {
        return;  // a question is answered
    }
    Request& request = requests_[number];
    if (request.stage == Stage::asks) {
        ++request.plan;
        events_.add(now_ + request.answers_after, Kind::answers_known, number, request.plan);
        return;
    }
    if (request.stage == Stage::works) {
        if (request.hold > 0) {
            request.stage = Stage::holds;
            ++request.plan;
            events_.add(now_ + static_cast<MonotonicTime>(request.hold), Kind::hold_ends, number,
                        request.plan);
            return;
        }
        served(number);
        return;
    }
    if (request.stage == Stage::being_passed_on) {
        answered(number);
        return;
    }
    // Being sent.
    request.stage = Stage::on_the_way;
    ++request.plan;
    if (air_.parted(request.ingress, request.at, now_)) {
        events_.add(now_ + static_cast<MonotonicTime>(scenario_.forwarding.connect_timeout_ns),
                    Kind::refused, number, request.plan);
        return;
    }
    const MonotonicTime takes = travel(request.ingress, request.at);
    if (takes == 0) {
        reach_peer(number);
        return;
    }
    events_.add(now_ + takes, Kind::reaches_peer, number, request.plan);
}

// The server that serves it is done with it.
void Simulation::served(std::uint32_t number) {
    Request& request = requests_[number];
    const std::uint32_t index = request.at;
    Server& server = servers_[index];
    const auto took = static_cast<double>(now_ - request.began_at);
    const bool proxied = index != request.ingress;
    if (announces_) {
        const auto took_ns = static_cast<std::uint64_t>(took);
        ++server.served.count;
        server.served.took_ns += took_ns;
        if (proxied) {
            ++server.served.proxied;
            server.served.proxied_took_ns += took_ns;
        }
        OwnRecords& records = *records_[index];
        const Nanoseconds lasted{static_cast<std::int64_t>(took)};
        records.latency.add(request.in_flight_at_arrival, lasted);
        if (server.served.count % LocationTimes::learn_one_of == 1) {
            const double in_progress = (request.in_flight_at_arrival + server.serving) / 2.0;
            records.locations.learn(location_of_class(request.kind),
                                    time_alone(lasted, in_progress, server.group.cpus));
        }
    }
    if (request.orphaned) {
        --server.serving;
        free_worker(index);
        serving_changed(index);
        free_request(number);
        return;
    }
    ++server.finished;
    server.assigned -= std::min(server.assigned, 1U);
    if (reference_) {
        reference_->finished({.ingress = request.ingress,
                              .server = index,
                              .in_flight_at_arrival = request.in_flight_at_arrival,
                              .response_ns = static_cast<double>(now_ - request.arrived_at),
                              .served_in_ns = took,
                              .work_ns = request.work});
    }
    --server.serving;
    if (proxied) {
        request.news = {.boot_id = server.boot_id,
                        .measurement = ++server.measurement,
                        .serving = server.serving,
                        .workers_idle = server.report.workers_idle};
    }
    free_worker(index);
    serving_changed(index);
    Request& same = requests_[number];
    if (!proxied) {
        end(number, true);
        return;
    }
    same.stage = Stage::on_the_way_back;
    ++same.plan;
    const MonotonicTime takes = travel(index, same.ingress);
    if (takes == 0) {
        come_back(number);
        return;
    }
    events_.add(now_ + takes, Kind::comes_back, number, same.plan);
}

void Simulation::come_back(std::uint32_t number) {
    Request& request = requests_[number];
    if (request.ingress_generation != servers_[request.ingress].generation) {
        end(number, false);  // it has crashed meanwhile
        return;
    }
    if (announces_) {
        knowledge_->forward_answered(request.ingress, request.at,
                                     scenario_.announcing.piggyback ? &request.news : nullptr,
                                     elapsed(request.sent_at, now_), now_);
    }
    const double work = scenario_.forwarding.forwarder_ns / 2;
    if (work > 0) {
        request.stage = Stage::being_passed_on;
        begin_cpu(request.ingress, number, work);
        return;
    }
    answered(number);
}

// The forwarder has passed the response on.
void Simulation::answered(std::uint32_t number) {
    Request& request = requests_[number];
    --servers_[request.ingress].forwarding;
    ++servers_[request.ingress].served.forwarded;
    free_worker(request.ingress);
    end(number, true);
}

void Simulation::free_worker(std::uint32_t index) {
    Server& server = servers_[index];
    --server.workers_busy;
    while (!server.hangs && !server.backlog.empty() && server.workers_busy < server.group.workers) {
        const std::uint32_t next = server.backlog.front();
        server.backlog.pop_front();
        admit(next);
    }
}

void Simulation::end(std::uint32_t number, bool answered) {
    Request& request = requests_[number];
    if (!answered) {
        Server& server = servers_[request.at];
        server.assigned -= std::min(server.assigned, 1U);
    }
    count_in_system(-1);
    const MonotonicTime took = now_ - request.arrived_at;
    mix(took);
    const bool forwarded = request.at != request.ingress;
    if (request.measured) {
        --measured_left_;
        if (answered) {
            outcome_.responses.add(took);
            outcome_.by_class[request.kind].add(took);
            outcome_.forwarded += forwarded ? 1 : 0;
        } else {
            ++outcome_.failed;
        }
    }
    if (SeriesBin* const bin = bin_of(request.arrived_at)) {
        if (answered) {
            ++bin->finished;
            bin->forwarded += forwarded ? 1 : 0;
            bin->response_sum_ns += static_cast<double>(took);
            bin->longest_ns = std::max(bin->longest_ns, static_cast<double>(took));
        } else {
            ++bin->failed;
        }
    }
    if (request.user != nobody) {
        const double thinks = scenario_.arrivals.think.draw(thinking_random_);
        events_.add(now_ + static_cast<MonotonicTime>(thinks), Kind::next_user, request.user);
    }
    free_request(number);
}

}  // namespace backhand::sim
