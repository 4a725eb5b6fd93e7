// Text on its way into an HTML page.
#pragma once

#include <string>
#include <string_view>

namespace backhand {

// Text as HTML.  Bytes that are no UTF-8, and control characters, for which HTML has no notation,
// become U+FFFD.
std::string escaped(std::string_view text);

}  // namespace backhand
