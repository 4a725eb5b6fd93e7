#include "forward/parameters.h"

#include "forward/http1.h"

namespace backhand {

bool read_parameters(std::string_view list, std::span<const std::string_view> names,
                     std::span<std::string_view> values) {
    // Whoever writes such a list writes it in this order.
    std::size_t expected = 0;
    while (true) {
        const std::size_t semicolon = list.find(';');
        const std::string_view one = list.substr(0, semicolon);
        const std::size_t equals = one.find('=');
        if (equals == std::string_view::npos) {
            return false;
        }
        const std::string_view name = one.substr(0, equals);
        std::size_t place = expected++;
        if (place >= names.size() || names[place] != name) {
            place = static_cast<std::size_t>(std::find(names.begin(), names.end(), name) -
                                             names.begin());
        }
        if (place == names.size()) {
            if (!is_token(name)) {
                return false;
            }
        } else {
            std::string_view& value = values[place];
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
