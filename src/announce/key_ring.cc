#include "announce/key_ring.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "base/system_error.h"
#include "base/trusted_file.h"
#include "base/unique_fd.h"

namespace backhand {

namespace {

constexpr std::size_t digest_bytes = 32;
constexpr std::size_t block_bytes = 64;

using Digest = std::array<std::uint8_t, digest_bytes>;
using Bytes = std::span<const std::uint8_t>;

struct FreeWithLibcrypto {
    void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }

    // Overwrites the state before it is freed.
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

using Sha256 = std::unique_ptr<EVP_MD, FreeWithLibcrypto>;
using HashState = std::unique_ptr<EVP_MD_CTX, FreeWithLibcrypto>;

// Bytes that are overwritten when they are not needed any more.
template <std::size_t size>
struct SecretBytes {
    SecretBytes() = default;
    SecretBytes(const SecretBytes&) = delete;
    SecretBytes& operator=(const SecretBytes&) = delete;

    ~SecretBytes() { OPENSSL_cleanse(bytes.data(), bytes.size()); }

    std::array<std::uint8_t, size> bytes{};
};

Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// All that can fail once SHA-256 is there is memory.
void require(bool done) {
    if (!done) {
        throw std::bad_alloc{};
    }
}

// HMAC with one key, from SHA-256.  Of the ways that libcrypto has to HMAC itself, the quickest
// that threads can share (EVP_MAC_CTX_dup of 3.0) takes twice the time and eleven allocations for
// three.
class Hmac {
public:
    Hmac(const EVP_MD* sha256, Bytes key) {
        SecretBytes<block_bytes> block;
        if (key.size() > block_bytes) {
            require(EVP_Digest(key.data(), key.size(), block.bytes.data(), nullptr, sha256,
                               nullptr) == 1);
        } else {
            std::copy(key.begin(), key.end(), block.bytes.begin());
        }
        inner_ = state_after(sha256, block, 0x36);
        outer_ = state_after(sha256, block, 0x5C);
    }

    // Any number of threads may ask at a time: each works on copies.
    void compute(Bytes message, std::span<std::uint8_t, digest_bytes> result) const {
        const HashState state{EVP_MD_CTX_new()};
        EVP_MD_CTX* const work = state.get();
        require(work != nullptr && EVP_MD_CTX_copy_ex(work, inner_.get()) == 1 &&
                EVP_DigestUpdate(work, message.data(), message.size()) == 1 &&
                EVP_DigestFinal_ex(work, result.data(), nullptr) == 1 &&
                EVP_MD_CTX_copy_ex(work, outer_.get()) == 1 &&
                EVP_DigestUpdate(work, result.data(), result.size()) == 1 &&
                EVP_DigestFinal_ex(work, result.data(), nullptr) == 1);
    }

private:
    static HashState state_after(const EVP_MD* sha256, const SecretBytes<block_bytes>& key,
                                 std::uint8_t pad) {
        SecretBytes<block_bytes> block;
        std::transform(key.bytes.begin(), key.bytes.end(), block.bytes.begin(),
                       [&](std::uint8_t byte) { return static_cast<std::uint8_t>(byte ^ pad); });
        HashState state{EVP_MD_CTX_new()};
        require(state != nullptr && EVP_DigestInit_ex2(state.get(), sha256, nullptr) == 1 &&
                EVP_DigestUpdate(state.get(), block.bytes.data(), block.bytes.size()) == 1);
        return state;
    }

    HashState inner_;
    HashState outer_;
};

// Nothing if the operator's openssl.cnf leaves no provider of SHA-256.
Sha256 fetch_sha256() {
    // A failure is ours to tell; whoever uses this thread's error queue next must not find it.
    ERR_set_mark();
    Sha256 sha256{EVP_MD_fetch(nullptr, "SHA256", nullptr)};
    ERR_pop_to_mark();
    return sha256;
}

Hmac derive(const EVP_MD* sha256, const Hmac& secret, std::string_view label) {
    SecretBytes<digest_bytes> key;
    secret.compute(bytes_of(label), key.bytes);
    return {sha256, key.bytes};
}

std::uint8_t key_id_of(const Hmac& secret) {
    Digest digest;
    secret.compute(bytes_of("backhand key id 1"), digest);
    return std::max<std::uint8_t>(digest[0], 1);
}

Status check_count(std::size_t count) {
    if (count >= 1 && count <= keys_max) {
        return Done{};
    }
    return Error{Error::Kind::malformed,
                 std::to_string(count) + " keys: expected 1 to " + std::to_string(keys_max)};
}

std::string made_by(const std::string& file) {
    return "; a key is made by: (umask 077; openssl rand -hex 32 > " + file + ")";
}

struct OverwriteAtEnd {
    explicit OverwriteAtEnd(std::vector<std::string>& its_texts) : texts(its_texts) {}

    OverwriteAtEnd(const OverwriteAtEnd&) = delete;
    OverwriteAtEnd& operator=(const OverwriteAtEnd&) = delete;

    ~OverwriteAtEnd() {
        for (std::string& text : texts) {
            OPENSSL_cleanse(text.data(), text.size());
        }
    }

    std::vector<std::string>& texts;
};

}  // namespace

struct KeyRing::Key {
    Key(const EVP_MD* sha256, const Hmac& secret)
        : id(key_id_of(secret)),
          by_purpose{derive(sha256, secret, "backhand announcement 1"),
                     derive(sha256, secret, "backhand challenge 1"),
                     derive(sha256, secret, "backhand request 1"),
                     derive(sha256, secret, "backhand probe 1")} {}

    Tag sign(KeyPurpose purpose, Bytes message) const {
        Digest digest;
        by_purpose[static_cast<std::size_t>(purpose)].compute(message, digest);
        Tag tag;
        std::copy_n(digest.begin(), tag.size(), tag.begin());
        return tag;
    }

    std::uint8_t id;
    std::array<Hmac, 4> by_purpose;  // by KeyPurpose
};

// A secret while it is turned into a key.
struct KeyRing::Secret {
    // The longest line, its end, and a byte that should not be there.
    using Content = SecretBytes<secret_bytes_max + 2>;

    explicit Secret(std::string its_name) : name(std::move(its_name)) {}

    Bytes line() const { return Bytes{content->bytes}.first(size); }

    Status read(int file);
    void copy(Bytes text);

    // Takes the end of the line off, and says what is wrong with the rest.
    Status check();

    std::string name;  // for errors
    std::unique_ptr<Content> content = std::make_unique<Content>();
    std::size_t size = 0;
};

Status KeyRing::Secret::read(int file) {
    while (size < content->bytes.size()) {
        const ssize_t count = ::read(file, &content->bytes[size], content->bytes.size() - size);
        if (count == 0) {
            break;
        }
        if (count < 0 && errno != EINTR) {
            return last_system_error(name);
        }
        size += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    }
    return Done{};
}

void KeyRing::Secret::copy(Bytes text) {
    size = std::min(text.size(), content->bytes.size());
    std::copy_n(text.begin(), size, content->bytes.begin());
}

Status KeyRing::Secret::check() {
    const auto expected_instead_of = [&](const std::string& what) {
        return Error{Error::Kind::malformed,
                     name + " " + what + ": expected one line of " +
                         std::to_string(secret_bytes_min) + " to " +
                         std::to_string(secret_bytes_max) +
                         " printable characters, as made by: openssl rand -hex 32"};
    };
    const auto has = [&](char byte) {
        return std::ranges::find(line(), static_cast<std::uint8_t>(byte)) != line().end();
    };

    if (size > 0 && content->bytes[size - 1] == '\n') {
        --size;
    }
    if (size == 0) {
        return expected_instead_of("is empty");
    }
    if (size > secret_bytes_max) {
        return expected_instead_of("is longer than " + std::to_string(secret_bytes_max) + " bytes");
    }
    if (has('\r')) {
        return expected_instead_of("has a carriage return, as Windows ends lines with");
    }
    if (has('\n')) {
        return expected_instead_of("has more than one line");
    }
    if (!std::ranges::all_of(line(),
                             [](std::uint8_t byte) { return byte >= ' ' && byte <= '~'; })) {
        return expected_instead_of("has a byte that is no printable ASCII character");
    }
    // Nobody would see the difference between two servers' keys.
    if (line().front() == ' ' || line().back() == ' ') {
        return expected_instead_of("begins or ends with a blank");
    }
    if (size < secret_bytes_min) {
        return expected_instead_of("is shorter than " + std::to_string(secret_bytes_min) +
                                   " bytes");
    }
    return Done{};
}

KeyRing::KeyRing(std::vector<Key> keys) : keys_(std::move(keys)) {}

KeyRing::KeyRing(KeyRing&& other) noexcept = default;

KeyRing& KeyRing::operator=(KeyRing&& other) noexcept = default;

KeyRing::~KeyRing() = default;

Result<KeyRing> KeyRing::load(std::span<const std::string> files, uid_t owner) {
    // Before any is read: the list may be any length.
    if (const Status good = check_count(files.size()); !good) {
        return good.error();
    }
    std::vector<Secret> secrets;
    for (const std::string& file : files) {
        const auto opened = open_secret_file(file, owner);
        if (!opened) {
            const bool not_there = opened.error().kind == Error::Kind::system;
            return Error{opened.error().kind,
                         opened.error().detail + (not_there ? made_by(file) : "")};
        }
        if (const Status done = secrets.emplace_back(file).read(opened->get()); !done) {
            return done.error();
        }
    }
    return from(std::move(secrets));
}

Result<KeyRing> KeyRing::from_secrets(std::vector<std::string> texts) {
    const OverwriteAtEnd end{texts};
    if (const Status good = check_count(texts.size()); !good) {
        return good.error();
    }
    std::vector<Secret> secrets;
    for (const std::string& text : texts) {
        secrets.emplace_back("secret " + std::to_string(secrets.size() + 1)).copy(bytes_of(text));
    }
    return from(std::move(secrets));
}

Result<KeyRing> KeyRing::from(std::vector<Secret> secrets) {
    const Sha256 sha256 = fetch_sha256();
    if (sha256 == nullptr) {
        return Error{Error::Kind::system,
                     "libcrypto offers no SHA-256: see openssl list -providers"};
    }
    std::vector<Key> keys;
    for (auto secret = secrets.begin(); secret != secrets.end(); ++secret) {
        if (const Status good = secret->check(); !good) {
            return good.error();
        }
        const auto same = std::find_if(secrets.begin(), secret, [&](const Secret& earlier) {
            return std::ranges::equal(earlier.line(), secret->line());
        });
        if (same != secret) {
            return Error{Error::Kind::refused, same->name + " and " + secret->name +
                                                   " hold the same key: expected another in each"};
        }
        keys.emplace_back(sha256.get(), Hmac{sha256.get(), secret->line()});
    }
    return KeyRing{std::move(keys)};
}

std::uint8_t KeyRing::signing_id() const {
    return keys_.front().id;
}

Tag KeyRing::sign(KeyPurpose purpose, Bytes message) const {
    return keys_.front().sign(purpose, message);
}

Verdict KeyRing::verify(KeyPurpose purpose, std::uint8_t key_id, Bytes message, Bytes tag) const {
    Verdict verdict = Verdict::unknown_key;
    // One in 255 pairs of keys has the same id: then the tag tells them apart.
    for (const Key& key : keys_) {
        if (key.id != key_id) {
            continue;
        }
        if (tag.size() != tag_bytes) {
            return Verdict::forged;
        }
        const Tag expected = key.sign(purpose, message);
        if (CRYPTO_memcmp(expected.data(), tag.data(), tag_bytes) == 0) {
            return Verdict::good;
        }
        verdict = Verdict::forged;
    }
    return verdict;
}

std::array<std::uint8_t, digest_bytes> hmac_sha256(Bytes key, Bytes message) {
    const Sha256 sha256 = fetch_sha256();
    require(sha256 != nullptr);
    Digest digest;
    Hmac{sha256.get(), key}.compute(message, digest);
    return digest;
}

}  // namespace backhand
