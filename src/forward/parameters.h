// Parameters of our own header fields: "a=1;b=2".
//
// Read strictly: what is said twice, or is no parameter, makes the whole list worthless, so that
// two readers never take different things from it.
#pragma once

#include <optional>
#include <string_view>

#include "base/text.h"

namespace backhand {

// The value of `name`.  nullopt if it is absent or there twice, or if any parameter, known or not,
// is no parameter.
std::optional<std::string_view> parameter(std::string_view list, std::string_view name);

template <class T>
std::optional<T> number_parameter(std::string_view list, std::string_view name) {
    const auto value = parameter(list, name);
    return value ? parse_number<T>(*value) : std::nullopt;
}

}  // namespace backhand
