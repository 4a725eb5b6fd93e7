// A server that answers probes, as a process of its own: so a test can count what asking alone
// does.
#pragma once

#include <cstdint>
#include <utility>

#include <poll.h>

#include "child_process.h"
#include "moderator/probe_answerer.h"

namespace backhand {

class AnsweringProcess {
public:
    explicit AnsweringProcess(const KeyRing* keys = nullptr)
        : contact_(*Endpoint::parse("127.0.0.1:8000")),
          probed_(std::move(*open_probe_socket(contact_.address))),
          process_([this, keys] { return answer(keys); }) {}

    const Endpoint& contact() const { return contact_; }

    std::uint16_t port() const { return probed_.port; }

private:
    int answer(const KeyRing* keys) const {
        AcceptList accept;
        accept.add(*parse_accept("127.0.0.1"));
        Counters counters;
        ProbeAnswerer answerer{
            {.contact = contact_, .accept = accept, .keys = keys, .counters = counters, .news = [] {
                 return ProbeAnswerer::News{.serving = 5, .workers_idle = 68};
             }}};
        pollfd event{.fd = probed_.socket.get(), .events = POLLIN, .revents = 0};
        while (::poll(&event, 1, -1) >= 0) {
            answerer.answer(probed_.socket.get());
        }
        return 1;
    }

    Endpoint contact_;
    ProbeSocket probed_;
    ChildProcess process_;
};

}  // namespace backhand
