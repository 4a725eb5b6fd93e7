// How built-in functions are made from their lines: what the files of
// them share.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "decide/builtin.h"

namespace backhand {

using Made = Result<std::vector<NamedFunction>>;

struct Builtin {
    std::string_view name;
    Made (*make)(std::string_view name, std::string_view argument);
};

std::span<const Builtin> original_builtins();
std::span<const Builtin> modern_builtins();
std::span<const Builtin> probe_builtins();
std::span<const Builtin> health_builtins();
std::span<const Builtin> session_builtins();
std::span<const Builtin> redirect_builtins();
std::span<const Builtin> filter_builtins();

Error bad_argument(std::string_view name, std::string_view argument, std::string_view expected);

// "name argument", or "name" if there is none.
std::string with_argument(std::string_view name, std::string_view argument);

// The argument as a number within [min, max], neither of them NaN; without one, `otherwise`.
std::optional<double> number_within(std::string_view argument, double otherwise, double min,
                                    double max);

inline Made just(std::unique_ptr<const CandidacyFunction> function, std::string text) {
    std::vector<NamedFunction> result;
    result.push_back({std::move(function), std::move(text)});
    return result;
}

template <class Function, class... Arguments>
Made one(std::string text, Arguments... arguments) {
    return just(std::make_unique<Function>(arguments...), std::move(text));
}

template <class Function>
Made make_plain(std::string_view name, std::string_view argument) {
    if (!argument.empty()) {
        return bad_argument(name, argument, "no argument");
    }
    return one<Function>(std::string(name));
}

}  // namespace backhand
