#include "decide/builtin.h"

#include "base/text.h"
#include "decide/making.h"

namespace backhand {

Made make_builtin(std::string_view name, std::string_view argument) {
    std::string known;
    for (const auto builtins : {modern_builtins(), probe_builtins(), health_builtins(),
                                session_builtins(), redirect_builtins(), original_builtins(),
                                filter_builtins()}) {
        for (const Builtin& builtin : builtins) {
            // httpd's own keywords are read without regard to case, so these are too.
            if (equal_ignoring_case(builtin.name, name)) {
                return builtin.make(builtin.name, argument);
            }
            known += ' ';
            known += builtin.name;
        }
    }
    return Error{
        Error::Kind::malformed,
        "\"" + std::string(name) + "\" is no candidacy function: expected off or one of" + known};
}

Error bad_argument(std::string_view name, std::string_view argument, std::string_view expected) {
    return {Error::Kind::malformed, std::string(name) + " \"" + std::string(argument) +
                                        "\": expected " + std::string(expected)};
}

std::string with_argument(std::string_view name, std::string_view argument) {
    return argument.empty() ? std::string(name) : std::string(name) + " " + std::string(argument);
}

std::optional<double> number_within(std::string_view argument, double otherwise, double min,
                                    double max) {
    const auto number = argument.empty() ? otherwise : parse_fraction(argument);
    return number && *number >= min && *number <= max ? number : std::nullopt;
}

}  // namespace backhand
