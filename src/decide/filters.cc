// Functions that look at the request instead of the servers: a request that does not match is
// served here.
#include <algorithm>
#include <array>

#include "decide/making.h"
#include "decide/pattern.h"

namespace backhand {

namespace {

// What the others have in common.
class RequestFilter : public CandidacyFunction {
public:
    explicit RequestFilter(Pattern pattern) : pattern_(std::move(pattern)) {}

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        if (!admits(context.request)) {
            set.keep_if([](const ServerView& server) { return server.is_self(); });
        }
    }

    Effect effect() const override { return Effect::keeps; }

    Detail reads() const override { return Detail::glance; }

protected:
    bool matches(std::string_view text) const { return pattern_.matches(text); }

private:
    Pattern pattern_;
};

class ByPart final : public RequestFilter {
public:
    using Part = std::string_view (*)(const RequestView&);

    ByPart(Pattern pattern, Part part) : RequestFilter(std::move(pattern)), part_(part) {}

    bool admits(const RequestView& request) const override { return matches(part_(request)); }

private:
    Part part_;
};

// One of the header field's lines.
class ByHeader final : public RequestFilter {
public:
    ByHeader(Pattern pattern, std::string name)
        : RequestFilter(std::move(pattern)),
          name_(std::move(name)) {}

    bool admits(const RequestView& request) const override {
        if (request.facts == nullptr) {
            return false;
        }
        for (std::size_t nth = 0; const auto value = request.facts->header(name_.c_str(), nth);
             ++nth) {
            if (matches(*value)) {
                return true;
            }
        }
        return false;
    }

private:
    std::string name_;
};

std::string_view host_of(const RequestView& request) {
    return request.host;
}

// Without the query; of "http://host/path" only what follows the host.
std::string_view path_of(const RequestView& request) {
    std::string_view path = request.path.substr(0, request.path.find('?'));
    const std::size_t scheme_end =
        path.starts_with('/') ? std::string_view::npos : path.find("://");
    if (scheme_end != std::string_view::npos) {
        const std::size_t slash = path.find('/', scheme_end + 3);
        path = slash == std::string_view::npos ? "/" : path.substr(slash);
    }
    return path;
}

// The pattern of a line; `argument` is all that was written, `expected` what would be right.
Result<Pattern> compile(std::string_view name, std::string_view argument, std::string_view pattern,
                        Pattern::Case letters, const std::string& expected) {
    if (pattern.empty()) {
        return bad_argument(name, argument, expected);
    }
    if (pattern.size() > Pattern::bytes_max) {
        return bad_argument(
            name, argument,
            expected + ", of at most " + std::to_string(Pattern::bytes_max) + " bytes");
    }
    auto compiled = Pattern::compile(pattern, letters);
    if (!compiled) {
        return bad_argument(name, argument, expected + " (" + compiled.error().detail + ")");
    }
    return compiled;
}

Made make_by_part(std::string_view name, std::string_view pattern, ByPart::Part part,
                  Pattern::Case letters, const std::string& example) {
    auto compiled =
        compile(name, pattern, pattern, letters, "a regular expression, for example " + example);
    if (!compiled) {
        return compiled.error();
    }
    return just(std::make_unique<ByPart>(std::move(*compiled), part), with_argument(name, pattern));
}

Made make_by_header(std::string_view name, std::string_view argument) {
    // RFC 9110 section 5.6.2.
    constexpr std::string_view letters =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const std::string expected =
        "the name of a header field and a regular expression, for example byHeader User-Agent "
        "^Mozilla";
    const std::size_t space = argument.find(' ');
    const std::string_view field = argument.substr(0, space);
    const std::size_t begin = argument.find_first_not_of(' ', std::min(space, argument.size()));
    if (field.empty() || field.find_first_not_of(letters) != std::string_view::npos ||
        begin == std::string_view::npos) {
        return bad_argument(name, argument, expected);
    }
    auto compiled =
        compile(name, argument, argument.substr(begin), Pattern::Case::matters, expected);
    if (!compiled) {
        return compiled.error();
    }
    return just(std::make_unique<ByHeader>(std::move(*compiled), std::string(field)),
                with_argument(name, argument));
}

Made make_by_host(std::string_view name, std::string_view pattern) {
    return make_by_part(name, pattern, host_of, Pattern::Case::ignored, "byHost ^www\\.");
}

Made make_by_path(std::string_view name, std::string_view pattern) {
    return make_by_part(name, pattern, path_of, Pattern::Case::matters, "byPath ^/app/");
}

constexpr std::array builtins = {
    Builtin{"byHeader", make_by_header},
    Builtin{"byHost", make_by_host},
    Builtin{"byPath", make_by_path},
};

}  // namespace

std::span<const Builtin> filter_builtins() {
    return builtins;
}

}  // namespace backhand
