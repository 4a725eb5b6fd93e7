#include "forward/parameters.h"

#include "forward/http1.h"

namespace backhand {

std::optional<std::string_view> parameter(std::string_view list, std::string_view name) {
    std::optional<std::string_view> found;
    while (true) {
        const std::size_t semicolon = list.find(';');
        const std::string_view one = list.substr(0, semicolon);
        const std::size_t equals = one.find('=');
        if (equals == std::string_view::npos || !is_token(one.substr(0, equals))) {
            return std::nullopt;
        }
        if (one.substr(0, equals) == name) {
            if (found) {
                return std::nullopt;
            }
            found = one.substr(equals + 1);
        }
        if (semicolon == std::string_view::npos) {
            return found;
        }
        list.remove_prefix(semicolon + 1);
    }
}

}  // namespace backhand
