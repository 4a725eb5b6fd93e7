// KeyRing: the keys that make announcements impossible to forge.
//
// AcceptStats knows senders by their address, and on most networks anyone can write another's
// address on a datagram.  What a server with a key sends carries a tag besides, which only a holder
// of the same key can compute: HMAC-SHA-256, the first 16 bytes of it (RFC 2104 section 5).
//
//     BackhandKey /etc/backhand/key /etc/backhand/key.next
//
// The first file's key signs; what any of them has signed is accepted.  So a key is changed while
// the cluster runs: add the new one as the second everywhere, then put it first everywhere, then
// drop the old one.
//
// Made in httpd's parent; used after fork() in the children, by any of their threads, and in the
// moderator.  The secrets themselves are overwritten before load() returns.  What is kept is the
// state of SHA-256 after each derived key, from which libcrypto goes on, and which it overwrites
// when the ring is destroyed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/result.h"

namespace backhand {

constexpr std::size_t keys_max = 8;

// Of the line in a key file, without its end.
constexpr std::size_t secret_bytes_min = 32;
constexpr std::size_t secret_bytes_max = 4096;

// Every purpose has a key of its own, derived from the secret: what is signed for one can never be
// shown for another.
enum class KeyPurpose : std::uint8_t { announcement, challenge, request, probe };

constexpr std::size_t tag_bytes = 16;

using Tag = std::array<std::uint8_t, tag_bytes>;

enum class Verdict : std::uint8_t {
    good,
    unknown_key,  // no key with this id
    forged,       // or changed on the way, or signed for another purpose
};

class KeyRing {
public:
    // Reads one key from each file.  Called as httpd's parent, usually root; `owner` is whom it
    // runs as.  Everything that could give a key away or let another be put in its place is an
    // error, which names the file and never quotes what is in it.
    static Result<KeyRing> load(std::span<const std::string> files, uid_t owner);

    // From what would be in the files.  The strings are overwritten.
    static Result<KeyRing> from_secrets(std::vector<std::string> texts);

    KeyRing(KeyRing&& other) noexcept;
    KeyRing& operator=(KeyRing&& other) noexcept;
    KeyRing(const KeyRing&) = delete;
    KeyRing& operator=(const KeyRing&) = delete;
    ~KeyRing();

    // Which key sign() uses, for the receiver: never 0, which in a datagram means "not signed".
    // Derived from the secret, so that all servers give a key the same id.
    std::uint8_t signing_id() const;

    Tag sign(KeyPurpose purpose, std::span<const std::uint8_t> message) const;

    // In a time that does not depend on where a wrong tag differs from the right one.
    Verdict verify(KeyPurpose purpose, std::uint8_t key_id, std::span<const std::uint8_t> message,
                   std::span<const std::uint8_t> tag) const;

private:
    struct Key;
    struct Secret;

    explicit KeyRing(std::vector<Key> keys);
    static Result<KeyRing> from(std::vector<Secret> secrets);

    std::vector<Key> keys_;  // in the order of the files
};

// The whole HMAC-SHA-256 of `message`.  A ring does the same with less work each time.
std::array<std::uint8_t, 32> hmac_sha256(std::span<const std::uint8_t> key,
                                         std::span<const std::uint8_t> message);

}  // namespace backhand
