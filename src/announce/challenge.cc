#include "announce/challenge.h"

#include <algorithm>

#include <sys/random.h>

#include "base/hex.h"
#include "base/text.h"

namespace backhand {

namespace {

constexpr std::string_view answer_heading = "backhand 1";

// Cuts the first word off: words are separated by exactly one space.
std::string_view take_word(std::string_view& text) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    return word;
}

std::string question_message(const Nonce& nonce, const Endpoint& contact) {
    return "ask\n" + hex(nonce) + '\n' + contact.to_string() + '\n';
}

std::string answer_message(const Nonce& nonce, const Challenged& who, std::string_view line) {
    std::string message = "answer\n" + hex(nonce) + '\n' + who.contact.to_string() + '\n';
    message.append(who.name).append("\n").append(line).append("\n");
    return message;
}

}  // namespace

std::optional<Nonce> make_nonce() {
    Nonce nonce{};
    // Up to 256 bytes it is neither interrupted nor short (getrandom(2)).
    if (::getrandom(nonce.data(), nonce.size(), 0) != static_cast<ssize_t>(nonce.size())) {
        return std::nullopt;
    }
    return nonce;
}

std::string challenge_value(const Nonce& nonce, const Endpoint& contact, const KeyRing& keys) {
    const Tag tag = keys.sign(KeyPurpose::challenge, bytes_of(question_message(nonce, contact)));
    return std::to_string(keys.signing_id()) + ' ' + hex(nonce) + ' ' + hex(tag);
}

std::string challenge_request(const Nonce& nonce, const Endpoint& contact, const KeyRing& keys) {
    std::string request = "GET ";
    request.append(challenge_path);
    request.append(" HTTP/1.0\r\nUser-Agent: backhand/" BACKHAND_VERSION "\r\n");
    request.append(challenge_field).append(": ").append(challenge_value(nonce, contact, keys));
    return request.append("\r\n\r\n");
}

std::optional<Nonce> read_challenge(std::string_view value, const Endpoint& own_contact,
                                    const KeyRing& keys) {
    const auto key_id = parse_number<std::uint8_t>(take_word(value));
    const auto nonce = from_hex<sizeof(Nonce)>(take_word(value));
    const auto tag = from_hex<sizeof(Tag)>(value);
    if (!key_id || !nonce || !tag ||
        keys.verify(KeyPurpose::challenge, *key_id, bytes_of(question_message(*nonce, own_contact)),
                    *tag) != Verdict::good) {
        return std::nullopt;
    }
    return nonce;
}

std::string answer_text(const Nonce& nonce, const Challenged& self, const ChallengeAnswer& answer,
                        const KeyRing& keys) {
    std::string line{answer_heading};
    line.append(" ").append(std::to_string(keys.signing_id()));
    line.append(" ").append(std::to_string(answer.boot_id));
    line.append(" ").append(std::to_string(answer.measurement));
    line.append(" ").append(std::to_string(answer.serving));
    line.append(" ").append(std::to_string(answer.workers_idle));
    const Tag tag = keys.sign(KeyPurpose::challenge, bytes_of(answer_message(nonce, self, line)));
    return line + ' ' + hex(tag) + '\n';
}

std::optional<ChallengeAnswer> read_answer(std::string_view text, const Nonce& nonce,
                                           const Challenged& asked, const KeyRing& keys) {
    if (!text.starts_with(answer_heading) || !text.ends_with('\n')) {
        return std::nullopt;
    }
    text.remove_suffix(1);
    const std::size_t line_end = text.rfind(' ');
    const std::string_view line = text.substr(0, line_end);
    const auto tag = from_hex<sizeof(Tag)>(text.substr(std::min(text.size(), line_end + 1)));

    std::string_view rest = line.substr(std::min(line.size(), answer_heading.size() + 1));
    const auto key_id = parse_number<std::uint8_t>(take_word(rest));
    const auto boot_id = parse_number<std::uint64_t>(take_word(rest));
    const auto measurement = parse_number<std::uint64_t>(take_word(rest));
    const auto serving = parse_number<std::uint32_t>(take_word(rest));
    const auto workers_idle = parse_number<std::uint32_t>(rest);
    if (!tag || !key_id || !boot_id || !measurement || !serving || !workers_idle ||
        keys.verify(KeyPurpose::challenge, *key_id, bytes_of(answer_message(nonce, asked, line)),
                    *tag) != Verdict::good) {
        return std::nullopt;
    }
    return ChallengeAnswer{*boot_id, *measurement, *serving, *workers_idle};
}

}  // namespace backhand
