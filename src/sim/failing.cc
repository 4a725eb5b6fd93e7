// Simulation, the part that comes from outside: antagonists that take CPU away, crashes, hangs,
// partitions, and servers that join.
#include <algorithm>

#include "sim/simulating.h"

namespace backhand::sim {

void Simulation::plan_antagonists() {
    taken_.assign(scenario_.antagonists.size() * servers_.size(), 0.0);
    hot_.resize(scenario_.antagonists.size());
    for (std::uint32_t number = 0; number < scenario_.antagonists.size(); ++number) {
        const Antagonist& one = scenario_.antagonists[number];
        switch (one.kind) {
            case Antagonist::Kind::schedule:
                events_.add(one.from, Kind::antagonist, number, nobody);
                events_.add(one.to, Kind::antagonist, number, nobody);
                break;
            case Antagonist::Kind::hot_set:
                events_.add(0, Kind::antagonist, number, nobody);
                break;
            case Antagonist::Kind::on_off: {
                for (std::uint32_t server = 0; server < servers_.size(); ++server) {
                    const bool concerned =
                        one.servers.empty() || std::find(one.servers.begin(), one.servers.end(),
                                                         server) != one.servers.end();
                    if (concerned) {
                        events_.add(static_cast<MonotonicTime>(one.off.draw(antagonists_random_)),
                                    Kind::antagonist, number, server);
                    }
                }
                break;
            }
        }
    }
}

void Simulation::plan_failures() {
    for (std::uint32_t number = 0; number < scenario_.failures.size(); ++number) {
        const Failure& one = scenario_.failures[number];
        if (one.kind == Failure::Kind::partition) {
            continue;  // the air knows
        }
        if (one.kind == Failure::Kind::join) {
            for (const std::uint32_t server : one.servers) {
                servers_[server].up = false;
                ++servers_[server].announcement_planned;
            }
            events_.add(one.from, Kind::failure, number, 1);
            continue;
        }
        events_.add(one.from, Kind::failure, number, 0);
        if (one.to != Failure::never_ends) {
            events_.add(one.to, Kind::failure, number, 1);
        }
    }
    for (std::uint32_t number = 0; number < scenario_.arrivals.ingress_changes.size(); ++number) {
        events_.add(scenario_.arrivals.ingress_changes[number].at, Kind::ingress_change, number);
    }
}

void Simulation::antagonist(std::uint32_t number) {
    const Antagonist& one = scenario_.antagonists[number];
    std::vector<std::uint32_t> concerned = one.servers;
    if (concerned.empty()) {
        for (std::uint32_t server = 0; server < servers_.size(); ++server) {
            concerned.push_back(server);
        }
    }
    const auto set = [&](std::uint32_t server, double depth) {
        taken_[number * servers_.size() + server] = depth;
        set_available(server);
    };
    if (one.kind == Antagonist::Kind::schedule) {
        const bool on = now_ >= one.from && now_ < one.to;
        for (const std::uint32_t server : concerned) {
            set(server, on ? one.depth : 0);
        }
        return;
    }
    for (const std::uint32_t server : hot_[number]) {
        set(server, 0);
    }
    hot_[number].clear();
    for (std::uint32_t left =
             std::min<std::uint32_t>(one.hot, static_cast<std::uint32_t>(concerned.size()));
         left != 0; --left) {
        const std::uint32_t drawn =
            antagonists_random_.below(static_cast<std::uint32_t>(concerned.size()));
        hot_[number].push_back(concerned[drawn]);
        set(concerned[drawn], one.depth);
        concerned[drawn] = concerned.back();
        concerned.pop_back();
    }
    events_.add(now_ + static_cast<MonotonicTime>(one.on.draw(antagonists_random_)) + 1,
                Kind::antagonist, number, nobody);
}

void Simulation::set_available(std::uint32_t index) {
    Server& server = servers_[index];
    double available = server.hangs || !server.up ? 0 : 1;
    for (std::size_t number = 0; number < scenario_.antagonists.size(); ++number) {
        available *= 1 - taken_[number * servers_.size() + index];
    }
    server.processor.set_available(available, now_);
    set_timer(index);
}

void Simulation::failure(std::uint32_t number, bool begins) {
    const Failure& one = scenario_.failures[number];
    for (const std::uint32_t index : one.servers) {
        Server& server = servers_[index];
        switch (one.kind) {
            case Failure::Kind::crash:
                begins ? crash(index) : start(index);
                break;
            case Failure::Kind::join:
                start(index);
                break;
            case Failure::Kind::hang:
                server.hangs = begins;
                set_available(index);
                if (begins) {
                    for (std::uint32_t held = 0; held < requests_.size(); ++held) {
                        const Request& request = requests_[held];
                        const bool is_there = request.stage == Stage::works ||
                                              request.stage == Stage::holds ||
                                              request.stage == Stage::waits;
                        if (request.live && !request.orphaned && request.at == index &&
                            request.ingress != index && is_there) {
                            plan_timeout(held);
                        }
                    }
                }
                if (!begins) {
                    ++server.workers_busy;  // free_worker() takes it off again
                    free_worker(index);
                    plan_announcement(index);
                }
                break;
            case Failure::Kind::partition:
                break;
        }
    }
}

// What it was serving is lost; who had sent it there learns by the end of the connection, whoever
// was connected to it as a client gets nothing.
void Simulation::crash(std::uint32_t index) {
    Server& server = servers_[index];
    server.up = false;
    ++server.generation;
    server.processor.clear(now_);
    set_timer(index);
    server.backlog.clear();
    server.workers_busy = server.serving = server.forwarding = 0;
    for (std::uint32_t number = 0; number < requests_.size(); ++number) {
        Request& request = requests_[number];
        if (!request.live) {
            continue;
        }
        if (request.orphaned) {
            if (request.at == index) {
                free_request(number);
            }
        } else if (request.ingress == index) {
            // Wherever it is being served, that goes on for nobody; it is left to end there.
            if (request.at == index || request.stage == Stage::being_sent ||
                request.stage == Stage::on_the_way || request.stage == Stage::on_the_way_back ||
                request.stage == Stage::being_passed_on) {
                ++request.plan;
                end(number, false);
            }
        } else if (request.at == index &&
                   (request.stage == Stage::works || request.stage == Stage::waits ||
                    request.stage == Stage::holds)) {
            ++request.plan;
            events_.add(now_ + travel(index, request.ingress) + 1, Kind::timed_out, number,
                        request.plan);
        }
    }
    server.assigned = 0;
}

void Simulation::start(std::uint32_t index) {
    Server& server = servers_[index];
    server.up = true;
    ++server.boot_id;
    server.measurement = 0;
    server.served = {};
    server.meter = {};
    server.load_average = 0;
    server.report = {};
    server.announced_serving = 0;
    server.busy_before = server.processor.busy(now_);
    server.measured_at = now_;
    if (announces_) {
        knowledge_->forgets(index, now_);
    }
    set_available(index);
    if (announces_) {
        announce(index);
    }
}

}  // namespace backhand::sim
