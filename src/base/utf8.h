// Text that must be UTF-8 (RFC 3629), from places where it need not be.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace backhand {

// U+FFFD: what stands for bytes that are none.
constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

// The length of the sequence that `text` begins with; 0 if it begins with none.
// REQUIRES: `text` is not empty.
std::size_t utf8_length(std::string_view text);

// `text`, each byte that belongs to no sequence replaced.
std::string as_utf8(std::string_view text);

}  // namespace backhand
