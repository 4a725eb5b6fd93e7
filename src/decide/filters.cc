// Functions that look at the request instead of the servers: a request that does not match is
// served here.
//
// Patterns are POSIX extended regular expressions.  Whoever writes a .htaccess file writes
// patterns too, so what could make the C library take seconds or gigabytes over one is refused.
#include <array>

#include <regex.h>

#include "decide/making.h"

namespace backhand {

namespace {

constexpr std::size_t pattern_bytes_max = 255;

class Pattern {
public:
    Pattern() = default;
    Pattern(const Pattern&) = delete;
    Pattern& operator=(const Pattern&) = delete;

    ~Pattern() {
        if (compiled_) {
            ::regfree(&regex_);
        }
    }

    // Error malformed says what is wrong with it.  Called once.
    Status compile(const std::string& text, bool ignoring_case) {
        const int flags = REG_EXTENDED | REG_NOSUB | (ignoring_case ? REG_ICASE : 0);
        const int failure = ::regcomp(&regex_, text.c_str(), flags);
        compiled_ = failure == 0;
        if (!compiled_) {
            std::array<char, 128> reason{};
            ::regerror(failure, &regex_, reason.data(), reason.size());
            return Error{Error::Kind::malformed, reason.data()};
        }
        return Done{};
    }

    // Threads take turns at one pattern inside the C library, which allocates for long texts only.
    // Without memory nothing matches.
    bool matches(std::string_view text) const {
        regmatch_t range{};
        range.rm_eo = static_cast<regoff_t>(text.size());
        // REG_STARTEND: the text need not end in a NUL.  REG_NOSUB: `range` is read, not written.
        return ::regexec(&regex_, text.empty() ? "" : text.data(), 1, &range, REG_STARTEND) == 0;
    }

private:
    regex_t regex_{};
    bool compiled_ = false;
};

class ByRequest final : public CandidacyFunction {
public:
    using Part = std::string_view (*)(const RequestView&);

    explicit ByRequest(Part part) : part_(part) {}

    Status compile(const std::string& text, bool ignoring_case) {
        return pattern_.compile(text, ignoring_case);
    }

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        if (!admits(context.request)) {
            set.keep_if([](const ServerView& server) { return server.is_self(); });
        }
    }

    Effect effect() const override { return Effect::keeps; }

    bool admits(const RequestView& request) const override {
        return pattern_.matches(part_(request));
    }

private:
    Part part_;
    Pattern pattern_;
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

// What the pattern must not have: counted repetitions, which the C library copies out one inside
// the other, and back-references, which it tries in every combination.
bool is_cheap(std::string_view pattern) {
    for (std::size_t index = 0; index < pattern.size(); ++index) {
        if (pattern[index] == '{') {
            return false;
        }
        if (pattern[index] == '\\') {
            ++index;
            if (index < pattern.size() && pattern[index] >= '0' && pattern[index] <= '9') {
                return false;
            }
        }
    }
    return true;
}

constexpr const char* allowed_patterns =
    ", of at most 255 bytes, with neither back-references (\\1) nor "
    "counted repetitions ({2,5}; a brace that is meant is written \\{)";

bool is_allowed(std::string_view pattern) {
    return pattern.size() <= pattern_bytes_max && is_cheap(pattern);
}

Made make_filter(std::string_view name, std::string_view pattern, ByRequest::Part part,
                 bool ignoring_case, const std::string& example) {
    const std::string expected = "a POSIX extended regular expression, for example " + example;
    if (pattern.empty()) {
        return bad_argument(name, pattern, expected);
    }
    if (!is_allowed(pattern)) {
        return bad_argument(name, pattern, expected + allowed_patterns);
    }
    auto function = std::make_unique<ByRequest>(part);
    const Status compiled = function->compile(std::string(pattern), ignoring_case);
    if (!compiled) {
        return bad_argument(name, pattern, expected + " (" + compiled.error().detail + ")");
    }
    return just(std::move(function), with_argument(name, pattern));
}

// The name of a header field, and a pattern that one of its lines matches.
class ByHeader final : public CandidacyFunction {
public:
    explicit ByHeader(std::string name) : name_(std::move(name)) {}

    Status compile(const std::string& text) { return pattern_.compile(text, false); }

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        if (!admits(context.request)) {
            set.keep_if([](const ServerView& server) { return server.is_self(); });
        }
    }

    Effect effect() const override { return Effect::keeps; }

    bool admits(const RequestView& request) const override {
        if (request.facts == nullptr) {
            return false;
        }
        for (std::size_t nth = 0; const auto value = request.facts->header(name_.c_str(), nth);
             ++nth) {
            if (pattern_.matches(*value)) {
                return true;
            }
        }
        return false;
    }

private:
    std::string name_;
    Pattern pattern_;
};

Made make_by_header(std::string_view name, std::string_view argument) {
    // RFC 9110 section 5.6.2.
    constexpr std::string_view letters =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const std::string expected =
        "the name of a header field and a POSIX extended regular expression, for example byHeader "
        "User-Agent ^Mozilla";
    const std::size_t space = argument.find(' ');
    const std::string_view field = argument.substr(0, space);
    const std::size_t begin = argument.find_first_not_of(' ', std::min(space, argument.size()));
    if (field.empty() || field.find_first_not_of(letters) != std::string_view::npos ||
        begin == std::string_view::npos) {
        return bad_argument(name, argument, expected);
    }
    const std::string_view pattern = argument.substr(begin);
    if (!is_allowed(pattern)) {
        return bad_argument(name, argument, expected + allowed_patterns);
    }
    auto function = std::make_unique<ByHeader>(std::string(field));
    const Status compiled = function->compile(std::string(pattern));
    if (!compiled) {
        return bad_argument(name, argument, expected + " (" + compiled.error().detail + ")");
    }
    return just(std::move(function), with_argument(name, argument));
}

Made make_by_host(std::string_view name, std::string_view pattern) {
    return make_filter(name, pattern, host_of, true, "byHost ^www\\.");
}

Made make_by_path(std::string_view name, std::string_view pattern) {
    return make_filter(name, pattern, path_of, false, "byPath ^/app/");
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
