#include "cluster/server_report.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace backhand {

void ServerReport::set_name(std::string_view text) {
    name.fill('\0');
    std::copy_n(text.begin(), std::min(text.size(), name.size() - 1), name.begin());
}

bool ServerReport::add_service(std::string_view site) {
    if (services_count == services_max) {
        return false;
    }
    service_hashes[services_count++] = hash_ignoring_case(site);

    const std::size_t used = services_view().size();
    const std::size_t separator = used == 0 ? 0 : 1;
    if (used + separator + site.size() < services.size()) {
        char* end = services.data() + used;
        if (separator != 0) {
            *end++ = ' ';
        }
        std::memcpy(end, site.data(), site.size());
    }
    return true;
}

bool ServerReport::offers(std::uint64_t service_hash) const {
    const auto* const end =
        service_hashes.data() + std::min<std::size_t>(services_count, services_max);
    return std::find(service_hashes.data(), end, service_hash) != end;
}

}  // namespace backhand
