// httpd's strings as views: a null pointer, httpd's way of saying that there is none, is empty
// text.
#pragma once

#include <string_view>

namespace backhand::httpd {

inline std::string_view text_of(const char* text) {
    return text == nullptr ? std::string_view{} : std::string_view{text};
}

}  // namespace backhand::httpd
