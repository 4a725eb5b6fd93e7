#include "forward/parameters.h"

#include "forward/http1.h"

namespace backhand {

bool read_parameters(std::string_view list, std::span<const std::string_view> names,
                     std::span<std::string_view> values) {
    while (true) {
        const std::size_t semicolon = list.find(';');
        const std::string_view one = list.substr(0, semicolon);
        const std::size_t equals = one.find('=');
        if (equals == std::string_view::npos) {
            return false;
        }
        const auto name = std::find(names.begin(), names.end(), one.substr(0, equals));
        if (name == names.end()) {
            if (!is_token(one.substr(0, equals))) {
                return false;
            }
        } else {
            std::string_view& value = values[static_cast<std::size_t>(name - names.begin())];
            if (value.data() != nullptr) {
                return false;
            }
            value = one.substr(equals + 1);
        }
        if (semicolon == std::string_view::npos) {
            return true;
        }
        list.remove_prefix(semicolon + 1);
    }
}

}  // namespace backhand
