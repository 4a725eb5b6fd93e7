// bySession: requests of one session go to the server that has the session.
//
// The application says which server that is, in what it hands the client as the session's
// identifier.  Of the value of the cookie, or of the path's parameter or the query's argument of
// the same name, one of these is read:
//
//     7f000001...            the first 8 hexadecimal digits: the owner's IPv4 address
//     20010db8...            the first 32: its IPv6 address
//     anything.web2          what follows the first dot: the owner's host name, as it is announced
#include <array>
#include <charconv>

#include "base/text.h"
#include "decide/making.h"

namespace backhand {

namespace {

constexpr std::string_view identifier_default = "PHPSESSID";
constexpr std::size_t digits_of_v4 = 8;

// The bytes that the text's first digits spell; false if so many digits do not come first.
template <std::size_t count>
bool read_hex(std::string_view text, std::array<std::uint8_t, count>& bytes) {
    if (text.size() < 2 * count) {
        return false;
    }
    for (std::size_t index = 0; index < count; ++index) {
        const char* const begin = text.data() + 2 * index;
        const auto [end, error] = std::from_chars(begin, begin + 2, bytes[index], 16);
        if (error != std::errc{} || end != begin + 2) {
            return false;
        }
    }
    return true;
}

// "name=value" among others that are separated by one of `separators`.
std::optional<std::string_view> argument_in(std::string_view text, std::string_view separators,
                                            std::string_view name) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find_first_of(separators), text.size());
        const std::string_view argument = text.substr(0, end);
        if (argument.size() > name.size() && argument.starts_with(name) &&
            argument[name.size()] == '=') {
            return argument.substr(name.size() + 1);
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return std::nullopt;
}

class BySession final : public CandidacyFunction {
public:
    explicit BySession(std::string identifier) : identifier_(std::move(identifier)) {}

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        const auto value = value_in(context.request);
        if (!value) {
            return;
        }
        const Owner owner{*value};
        if (owner.is(set.self())) {
            set.put_self_first();
            set.settle();
            return;
        }
        for (std::size_t position = 0; position < set.size(); ++position) {
            if (owner.is(set[position])) {
                set.put_first(position);
                set.settle();
                return;
            }
        }
    }

    std::string remark(const CandidacySet& set, const DecisionContext& context) const override {
        if (!value_in(context.request)) {
            return "the request has no session";
        }
        return set.is_settled() ? "the session is at the head"
                                : "the session is at no server that could take the request";
    }

private:
    class Owner {
    public:
        explicit Owner(std::string_view value) {
            if (std::array<std::uint8_t, digits_of_v4 / 2> bytes{}; read_hex(value, bytes)) {
                has_v4_ = true;
                v4_.bytes[10] = v4_.bytes[11] = 0xFF;
                std::copy(bytes.begin(), bytes.end(), v4_.bytes.begin() + 12);
            }
            has_v6_ = read_hex(value, v6_.bytes);
            const std::size_t dot = value.find('.');
            if (dot != std::string_view::npos && dot + 1 < value.size()) {
                name_hash_ = hash_ignoring_case(value.substr(dot + 1));
            }
        }

        bool is(const ServerView& server) const {
            const IpAddress& address = server.load.contact.address;
            return (has_v4_ && address == v4_) || (has_v6_ && address == v6_) ||
                   (name_hash_ && *name_hash_ == server.name_hash);
        }

    private:
        IpAddress v4_;
        IpAddress v6_;
        bool has_v4_ = false;
        bool has_v6_ = false;
        std::optional<std::uint64_t> name_hash_;
    };

    std::optional<std::string_view> value_in(const RequestView& request) const {
        if (const auto cookie = request.cookie(identifier_)) {
            return cookie;
        }
        const std::string_view path = request.path.substr(0, request.path.find('?'));
        if (const auto parameter = argument_in(path, ";/", identifier_)) {
            return parameter;
        }
        return argument_in(request.query(), "&;", identifier_);
    }

    std::string identifier_;
};

Made make_by_session(std::string_view name, std::string_view argument) {
    // The original's argument ended with the equals sign.
    std::string_view identifier = argument.empty() ? identifier_default : argument;
    identifier.remove_suffix(identifier.ends_with('=') ? 1 : 0);
    if (identifier.empty() || identifier.find_first_of("=;,&?/ \t\"") != std::string_view::npos) {
        return bad_argument(name, argument,
                            "the name of a cookie, for example bySession PHPSESSID");
    }
    return just(std::make_unique<BySession>(std::string(identifier)),
                with_argument(name, argument));
}

constexpr std::array builtins = {
    Builtin{"bySession", make_by_session},
};

}  // namespace

std::span<const Builtin> session_builtins() {
    return builtins;
}

}  // namespace backhand
