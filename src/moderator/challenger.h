// Challenger: asks new contacts for their proof (announce/challenge.h), without ever waiting.
//
// One question at a time to each contact and few altogether; a contact that does not answer rightly
// is asked again when it announces again, ever more rarely.  Belongs to the moderator's loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <asio/io_context.hpp>

#include "announce/challenge.h"
#include "announce/key_ring.h"
#include "base/address.h"
#include "base/clock.h"

namespace backhand {

class Challenger {
public:
    // Called when a contact has proved to be the server of this name.
    using Passed = std::function<void(const Endpoint& contact, const ChallengeAnswer& answer)>;

    // Called when it has not; `why` is for the operator.
    using Failed = std::function<void(const Endpoint& contact, const std::string& why)>;

    // Questions come from `source`, because the asked looks whether it is addressed by a member.
    // `keys` must outlive the challenger.
    Challenger(asio::io_context& loop, const KeyRing& keys, IpAddress source, Passed passed,
               Failed failed);
    Challenger(const Challenger&) = delete;
    Challenger& operator=(const Challenger&) = delete;
    ~Challenger();

    // Asks, unless it is being asked, or this start of the server failed a moment ago, or too many
    // are being asked.  Returns true if the question is on its way.
    bool ask(const Endpoint& contact, const std::string& name, std::uint64_t boot_id,
             MonotonicTime now);

private:
    class Question;

    struct Asked {
        std::shared_ptr<Question> question;  // nullptr: answered or given up
        std::uint64_t boot_id = 0;           // the highest that was announced
        MonotonicTime again_at = 0;
        int failures = 0;
    };

    void end(const Endpoint& contact, const std::optional<ChallengeAnswer>& answer,
             const std::string& why);
    void forget_old(MonotonicTime now);

    asio::io_context& loop_;
    const KeyRing& keys_;
    const IpAddress source_;
    const Passed passed_;
    const Failed failed_;
    std::map<std::string, Asked> asked_;  // by contact, as text
    std::size_t open_ = 0;
};

}  // namespace backhand
