// Parameters of our own header fields: "a=1;b=2".
//
// Read strictly: what is said twice, or is no parameter, makes the whole list worthless, so that
// two readers never take different things from it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace backhand {

// Fills `values` with the values of `names`, in that order; empty for those that are absent.
// False: one of them is there twice, or something in the list, known or not, is no parameter.
bool read_parameters(std::string_view list, std::span<const std::string_view> names,
                     std::span<std::string_view> values);

// The values of `names`, in that order.  nullopt: as above, or one is absent or empty.
template <std::size_t count>
std::optional<std::array<std::string_view, count>> parameters(
    std::string_view list, const std::array<std::string_view, count>& names) {
    std::array<std::string_view, count> values;
    const bool read = read_parameters(list, names, values);
    const bool whole = read && std::none_of(values.begin(), values.end(),
                                            [](std::string_view value) { return value.empty(); });
    return whole ? std::optional{values} : std::nullopt;
}

}  // namespace backhand
