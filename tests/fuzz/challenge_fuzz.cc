// Fuzzes the readers of challenges and of their answers.
//
// Nothing that comes without a key passes.  To look behind that door, the input is signed, too, as
// a member that wrote it would: then what is read can be said again and reads the same.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "announce/challenge.h"
#include "known_keys.h"

namespace {

using backhand::Challenged;
using backhand::Endpoint;
using backhand::keys;
using backhand::Nonce;
using backhand::require;

constexpr Nonce nonce = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr std::string_view nonce_text = "000102030405060708090a0b0c0d0e0f";
constexpr std::string_view contact_text = "10.0.0.1:80";
constexpr std::string_view name = "web1";

std::string tag_of(const std::string& message) {
    const backhand::Tag tag =
        keys().sign(backhand::KeyPurpose::challenge,
                    {reinterpret_cast<const std::uint8_t*>(message.data()), message.size()});
    std::string text;
    for (const std::uint8_t byte : tag) {
        text += "0123456789abcdef"[byte >> 4U];
        text += "0123456789abcdef"[byte & 15U];
    }
    return text;
}

// A question with these words before its tag.
std::string as_question(std::string_view words) {
    const std::string message =
        "ask\n" + std::string{nonce_text} + '\n' + std::string{contact_text} + '\n';
    return std::string{words} + ' ' + tag_of(message);
}

// An answer with these words before its tag.
std::string as_answer(std::string_view words) {
    std::string message = "answer\n" + std::string{nonce_text} + '\n';
    message.append(contact_text).append("\n").append(name).append("\n").append(words).append("\n");
    return std::string{words} + ' ' + tag_of(message) + '\n';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Memory of exactly this size: the sanitizer sees a read beyond the end.
    const std::string input{reinterpret_cast<const char*>(data), size};
    const Endpoint contact = *Endpoint::parse(contact_text);
    const Challenged asked{.contact = contact, .name = name};

    const std::optional<Nonce> never_asked = backhand::make_nonce();
    require(never_asked && !backhand::read_answer(input, *never_asked, asked, keys()));
    require(!backhand::read_challenge(input, *Endpoint::parse("10.0.0.2:80"), keys()));

    if (const auto read = backhand::read_challenge(as_question(input), contact, keys())) {
        require(*read == nonce);
    }
    if (const auto answer = backhand::read_answer(as_answer(input), nonce, asked, keys())) {
        const std::string again = backhand::answer_text(nonce, asked, *answer, keys());
        require(backhand::read_answer(again, nonce, asked, keys()) == answer);
    }
    return 0;
}
