#include "decide/redirect.h"

#include <algorithm>
#include <array>

#include "decide/making.h"

namespace backhand {

namespace {

// Of labels there are at most 127 in a name (RFC 1035).
constexpr int labels_max = 127;
constexpr std::size_t host_bytes_max = 253;

constexpr std::string_view letters_of_hosts =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";

std::string_view some_labels(std::string_view name, int labels) {
    if (labels == 0) {
        return name;
    }
    std::size_t end = 0;
    for (int count = 0; count < std::abs(labels); ++count) {
        end = std::min(name.find('.', count == 0 ? 0 : end + 1), name.size());
        if (end == name.size()) {
            break;
        }
    }
    return labels > 0 ? name.substr(0, end) : name.substr(std::min(end + 1, name.size()));
}

// What another server announced may be anything, and ends up in a header field.
bool can_be_host(std::string_view text) {
    return !text.empty() && text.size() <= host_bytes_max && text.front() != '.' &&
           text.find_first_not_of(letters_of_hosts) == std::string_view::npos;
}

}  // namespace

Result<Redirect> Redirect::to_name(std::string_view format) {
    const Error malformed{Error::Kind::malformed,
                          "expected text with %S (the server's name), %H (the requested host), "
                          "%2S (its first two labels), %-1H (all but its first) or %%"};
    Redirect redirect;
    const auto add_text = [&redirect](std::string_view text) {
        if (redirect.pieces_.empty() || redirect.pieces_.back().kind != Kind::text) {
            redirect.pieces_.push_back({});
        }
        redirect.pieces_.back().text += text;
    };
    while (!format.empty()) {
        const std::size_t percent = std::min(format.find('%'), format.size());
        if (percent != 0) {
            add_text(format.substr(0, percent));
            format.remove_prefix(percent);
            continue;
        }
        format.remove_prefix(1);
        if (format.starts_with('%')) {
            add_text("%");
            format.remove_prefix(1);
            continue;
        }
        Piece piece;
        const bool all_but = format.starts_with('-');
        format.remove_prefix(all_but ? 1 : 0);
        const bool counted = !format.empty() && format.front() >= '0' && format.front() <= '9';
        while (!format.empty() && format.front() >= '0' && format.front() <= '9') {
            piece.labels = std::min(piece.labels * 10 + (format.front() - '0'), labels_max + 1);
            format.remove_prefix(1);
        }
        if (format.empty() || (format.front() != 'S' && format.front() != 'H') ||
            (all_but && !counted) || (counted && piece.labels == 0) || piece.labels > labels_max) {
            return malformed;
        }
        piece.kind = format.front() == 'S' ? Kind::server_name : Kind::requested_host;
        piece.labels = all_but ? -piece.labels : piece.labels;
        format.remove_prefix(1);
        redirect.pieces_.push_back(std::move(piece));
    }
    if (redirect.pieces_.empty()) {
        return malformed;
    }
    return redirect;
}

std::string Redirect::host_of(std::string_view server_name, const Endpoint& contact,
                              std::string_view requested_host) const {
    if (names_contact()) {
        const std::string address = contact.address.to_string();
        return contact.address.is_v4() ? address : "[" + address + "]";
    }
    std::string host;
    for (const Piece& piece : pieces_) {
        switch (piece.kind) {
            case Kind::text:
                host += piece.text;
                break;
            case Kind::server_name:
                host += some_labels(server_name, piece.labels);
                break;
            case Kind::requested_host:
                host += some_labels(requested_host, piece.labels);
                break;
        }
    }
    return can_be_host(host) ? host : "";
}

namespace {

class HttpRedirect final : public CandidacyFunction {
public:
    explicit HttpRedirect(Redirect redirect) : redirect_(std::move(redirect)) {}

    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.answer_with(redirect_);
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::glance; }

    bool needs_head_only() const override { return true; }

private:
    Redirect redirect_;
};

Made make_redirect_to_name(std::string_view name, std::string_view argument) {
    auto redirect = Redirect::to_name(argument.empty() ? "%S" : argument);
    if (!redirect) {
        return Error{Error::Kind::malformed, std::string(name) + " \"" + std::string(argument) +
                                                 "\": " + redirect.error().detail};
    }
    return just(std::make_unique<HttpRedirect>(std::move(*redirect)),
                with_argument(name, argument));
}

Made make_redirect_to_ip(std::string_view name, std::string_view argument) {
    if (!argument.empty()) {
        return bad_argument(name, argument, "no argument");
    }
    return just(std::make_unique<HttpRedirect>(Redirect{}), std::string(name));
}

constexpr std::array builtins = {
    Builtin{"HTTPRedirectToIP", make_redirect_to_ip},
    Builtin{"HTTPRedirectToName", make_redirect_to_name},
};

}  // namespace

std::span<const Builtin> redirect_builtins() {
    return builtins;
}

}  // namespace backhand
