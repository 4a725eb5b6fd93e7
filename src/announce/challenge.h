// The challenge: does whoever listens at a contact hold the cluster's key?
//
// An announcement names the contact that requests shall be sent to.  With keys, a contact counts
// only after it has proved over TCP that it is the announced server: the asker sends a number never
// used before, signed; the asked answers with the same number, its own contact and name, and how
// far its reports have come, signed too.  The last refuses replays: announcements recorded
// before an answer are older than it says.
//
//   GET /.well-known/backhand HTTP/1.0
//   Backhand-Challenge: <key id> <nonce> <tag>
//
//   backhand 1 <key id> <boot id> <measurement> <serving> <idle workers> <tag>
//
// HTTP/1.0, because it may be asked without a Host field: StrictHostCheck refuses those that name
// no site, such as the contact.
//
// Nonces and tags in hexadecimal, numbers in decimal.  Signed are, each followed by a line feed, in
// the question: "ask", nonce, contact; in the answer: "answer", nonce, contact, name, and the line
// above up to the idle workers.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "announce/key_ring.h"
#include "base/address.h"

namespace backhand {

constexpr std::string_view challenge_path = "/.well-known/backhand";
constexpr std::string_view challenge_field = "Backhand-Challenge";

using Nonce = std::array<std::uint8_t, 16>;

// From the kernel's generator; nullopt if it fails.
std::optional<Nonce> make_nonce();

// Who is asked.
struct Challenged {
    Endpoint contact;
    std::string_view name;
};

// What the asked says of itself.
struct ChallengeAnswer {
    std::uint64_t boot_id = 0;
    std::uint64_t measurement = 0;
    std::uint32_t serving = 0;
    std::uint32_t workers_idle = 0;

    friend bool operator==(const ChallengeAnswer&, const ChallengeAnswer&) = default;
};

// REQUIRES: keys are there, for all of these.

// Value of the field Backhand-Challenge.
std::string challenge_value(const Nonce& nonce, const Endpoint& contact, const KeyRing& keys);

// The whole request.
std::string challenge_request(const Nonce& nonce, const Endpoint& contact, const KeyRing& keys);

// The nonce to answer.  nullopt: malformed, not signed by a member, or meant for another contact.
std::optional<Nonce> read_challenge(std::string_view value, const Endpoint& own_contact,
                                    const KeyRing& keys);

// Body of the response.
std::string answer_text(const Nonce& nonce, const Challenged& self, const ChallengeAnswer& answer,
                        const KeyRing& keys);

// nullopt: malformed, forged, to another question or from another server.
std::optional<ChallengeAnswer> read_answer(std::string_view text, const Nonce& nonce,
                                           const Challenged& asked, const KeyRing& keys);

}  // namespace backhand
