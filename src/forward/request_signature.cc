#include "forward/request_signature.h"

#include <array>

#include "base/hex.h"
#include "base/text.h"
#include "forward/parameters.h"

namespace backhand {

namespace {

constexpr std::string_view before_tag = ";tag=";
constexpr std::array<std::string_view, 5> names = {"key", "from", "number", "boot", "measurement"};

// None of the parts can hold a line feed: they have been on a request line or in a field.
std::string message_of(const SignedRequest& request, std::string_view unsigned_value) {
    const std::string destination = request.destination.to_string();
    std::string message = "request\n";
    for (const std::string_view part :
         {request.method, request.target, request.host, request.proxied, request.exchange,
          std::string_view{destination}, unsigned_value}) {
        message.append(part).append("\n");
    }
    return message;
}

std::string unsigned_value_of(const ExchangeOrigin& origin, std::uint8_t key_id) {
    std::string value = "key=" + std::to_string(key_id);
    value += ";from=" + std::to_string(origin.boot_id);
    value += ";number=" + std::to_string(origin.number);
    value += ";boot=" + std::to_string(origin.heard_boot_id);
    value += ";measurement=" + std::to_string(origin.heard_measurement);
    return value;
}

}  // namespace

std::string sign_request(const SignedRequest& request, const ExchangeOrigin& origin,
                         const KeyRing& keys) {
    std::string value = unsigned_value_of(origin, keys.signing_id());
    const Tag tag = keys.sign(KeyPurpose::request, bytes_of(message_of(request, value)));
    return value.append(before_tag).append(hex(tag));
}

std::optional<ExchangeOrigin> verify_request(const SignedRequest& request, std::string_view value,
                                             const KeyRing& keys) {
    const std::size_t tag_at = value.rfind(before_tag);
    if (tag_at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view signed_value = value.substr(0, tag_at);
    const auto tag = from_hex<tag_bytes>(value.substr(tag_at + before_tag.size()));
    const auto values = parameters(signed_value, names);
    if (!values) {
        return std::nullopt;
    }
    const auto key_id = parse_number<std::uint8_t>((*values)[0]);
    const auto boot_id = parse_number<std::uint64_t>((*values)[1]);
    const auto number = parse_number<std::uint64_t>((*values)[2]);
    const auto heard_boot_id = parse_number<std::uint64_t>((*values)[3]);
    const auto heard_measurement = parse_number<std::uint64_t>((*values)[4]);
    if (!tag || !key_id || !boot_id || !number || !heard_boot_id || !heard_measurement) {
        return std::nullopt;
    }
    if (keys.verify(KeyPurpose::request, *key_id, bytes_of(message_of(request, signed_value)),
                    *tag) != Verdict::good) {
        return std::nullopt;
    }
    return ExchangeOrigin{*boot_id, *number, *heard_boot_id, *heard_measurement};
}

}  // namespace backhand
