// Pattern: a regular expression (PCRE2, as in httpd's own directives) that is matched on a
// request's way.
//
// Whoever writes a .htaccess file writes patterns too.  So what compiling one can take is bounded,
// and what a match can take: memory on the stack only, so that nothing is allocated or locked, and
// a number of steps, after which the text counts as one that does not match.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"

// pcre2.h's, which is included in one place only.
struct pcre2_real_code_8;

namespace backhand {

class Pattern {
public:
    static constexpr std::size_t bytes_max = 255;
    static constexpr std::uint32_t steps_max = 100'000;

    enum class Case { matters, ignored };

    // Error malformed says what is wrong with it.
    static Result<Pattern> compile(std::string_view text, Case letters);

    // Anywhere in the text.  By several threads at a time.
    bool matches(std::string_view text) const;

private:
    struct Free {
        void operator()(pcre2_real_code_8* code) const;
    };

    using Code = std::unique_ptr<pcre2_real_code_8, Free>;

    explicit Pattern(Code code) : code_(std::move(code)) {}

    Code code_;
};

}  // namespace backhand
