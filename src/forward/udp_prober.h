// UdpProber: asks servers by UDP what they have to do at this moment (announce/probe.h), and waits
// for their moderators' answers.
//
// Whoever asks has sockets to itself for as long as it asks, so no lock is held while it waits.
// They are kept for the next one: asking allocates nothing once they have been opened, and signs
// with what libcrypto allocates.  Only what comes from where a question went, with that question's
// nonce and the tag that our keys ask for, is an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "announce/key_ring.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/shelf.h"
#include "cluster/table.h"
#include "decide/prober.h"

namespace backhand {

class UdpProber final : public Prober {
public:
    // So many servers at once; if more are named, the others are not asked.
    static constexpr std::size_t asked_max = 16;

    // `source` is the address that peers know this server by.  `keys`, if there are any, must
    // outlive the prober; nullptr: nothing is signed.  `patience` is for tests, which cannot say
    // how soon an answer comes.
    UdpProber(ClusterTable table, const IpAddress& source, const KeyRing* keys,
              Nanoseconds patience = limit);
    UdpProber(const UdpProber&) = delete;
    UdpProber& operator=(const UdpProber&) = delete;
    ~UdpProber() override;

    void ask(std::span<const std::uint32_t> slots,
             std::span<std::optional<ProbeAnswer>> answers) const override;

private:
    class Line;
    class Round;

    const ClusterTable table_;
    const IpAddress source_;
    const KeyRing* const keys_;
    const Nanoseconds patience_;
    mutable Shelf<Line> lines_;
};

}  // namespace backhand
