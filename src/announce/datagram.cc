#include "announce/datagram.h"

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <string_view>

#include <nlohmann/json.hpp>

namespace backhand {

namespace {

using Json = nlohmann::json;

constexpr std::array<std::uint8_t, 4> magic = {'B', 'H', 'N', 'D'};
constexpr std::size_t version_offset = 4;
constexpr std::size_t boot_id_offset = 8;
constexpr std::size_t measurement_offset = 16;

void put_big_endian(std::vector<std::uint8_t>& out, std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) {
        out.push_back(static_cast<std::uint8_t>(value >> static_cast<unsigned>(shift)));
    }
}

std::uint64_t get_big_endian(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes.first(8)) {
        value = value << 8U | byte;
    }
    return value;
}

// A field of the map: missing ones keep the default, those of another type or range are malformed.
template <class Number>
bool read(const Json& map, const char* name, Number& value) {
    const auto found = map.find(name);
    if (found == map.end()) {
        return true;
    }
    if (!found->is_number_unsigned() ||
        found->get<std::uint64_t>() > std::numeric_limits<Number>::max()) {
        return false;
    }
    value = static_cast<Number>(found->get<std::uint64_t>());
    return true;
}

const std::string* find_string(const Json& map, const char* name) {
    const auto found = map.find(name);
    return found == map.end() ? nullptr : found->get_ptr<const std::string*>();
}

// What a page, a terminal or a log may show as it is.  A control character is in no host's name.
bool is_showable(std::string_view text) {
    return !text.empty() && std::none_of(text.begin(), text.end(), [](char letter) {
        return static_cast<unsigned char>(letter) < ' ' || letter == '\x7f';
    });
}

bool read_flag(const Json& map, const char* name, ServerFlag flag, LoadReport& load) {
    const auto found = map.find(name);
    if (found == map.end()) {
        return true;
    }
    if (found->is_boolean() && found->get<bool>()) {
        load.flags |= flag;
    }
    return found->is_boolean();
}

Json to_map(const ServerReport& report) {
    const LoadReport& load = report.load;
    return {
        {"name", report.name_view()},
        {"contact", load.contact.to_string()},
        {"arriba", load.arriba},
        {"load_permille", load.load_permille},
        {"load_hwm", load.load_hwm},
        {"cpu_idle_permille", load.cpu_idle_permille},
        {"cpus", load.cpus_count},
        {"memory_total_bytes", load.memory_total_bytes},
        {"memory_available_bytes", load.memory_available_bytes},
        {"workers_max", load.workers_max},
        {"workers_busy", load.workers_busy},
        {"workers_idle", load.workers_idle},
        {"serving", load.serving},
        {"forwarding", load.forwarding},
        {"interval_ms", load.interval_ms},
        {"keepalive_timeout_ms", load.keepalive_timeout_ms},
        {"connection_holds_worker", load.has(ServerFlag::connection_holds_worker)},
        {"leaving", load.has(ServerFlag::leaving)},
    };
}

bool from_map(const Json& map, ServerReport& report) {
    LoadReport& load = report.load;
    const std::string* const name = find_string(map, "name");
    const std::string* const contact = find_string(map, "contact");
    if (name == nullptr || !is_showable(*name) || contact == nullptr) {
        return false;
    }
    const auto endpoint = Endpoint::parse(*contact);
    if (!endpoint || endpoint->address.is_multicast() || endpoint->address.is_unspecified()) {
        return false;
    }
    report.set_name(*name);
    load.contact = *endpoint;

    const bool readable =
        read(map, "arriba", load.arriba) && read(map, "load_permille", load.load_permille) &&
        read(map, "load_hwm", load.load_hwm) &&
        read(map, "cpu_idle_permille", load.cpu_idle_permille) &&
        read(map, "cpus", load.cpus_count) &&
        read(map, "memory_total_bytes", load.memory_total_bytes) &&
        read(map, "memory_available_bytes", load.memory_available_bytes) &&
        read(map, "workers_max", load.workers_max) &&
        read(map, "workers_busy", load.workers_busy) &&
        read(map, "workers_idle", load.workers_idle) && read(map, "serving", load.serving) &&
        read(map, "forwarding", load.forwarding) && read(map, "interval_ms", load.interval_ms) &&
        read(map, "keepalive_timeout_ms", load.keepalive_timeout_ms);
    if (!readable ||
        !read_flag(map, "connection_holds_worker", ServerFlag::connection_holds_worker, load) ||
        !read_flag(map, "leaving", ServerFlag::leaving, load)) {
        return false;
    }

    const auto services = map.find("services");
    if (services == map.end()) {
        return true;
    }
    return services->is_array() &&
           std::all_of(services->begin(), services->end(), [&report](const Json& site) {
               return site.is_string() && is_showable(site.get_ref<const std::string&>()) &&
                      report.add_service(site.get_ref<const std::string&>());
           });
}

}  // namespace

std::vector<std::uint8_t> encode_datagram(const ServerReport& report,
                                          std::span<const std::string> services) {
    std::vector<std::uint8_t> datagram(magic.begin(), magic.end());
    datagram.push_back(datagram_format_version);
    datagram.insert(datagram.end(), 3, 0);
    put_big_endian(datagram, report.load.boot_id);
    put_big_endian(datagram, report.load.measurement);

    // Replaces bytes that are no UTF-8 (a host name may be anything): CBOR text must be.
    Json map = Json::parse(to_map(report).dump(-1, ' ', false, Json::error_handler_t::replace));

    // What a site name adds: its bytes and at most 3 of length.  9 for the array's own header and
    // key.
    std::size_t room = datagram_bytes_max - datagram_header_bytes - Json::to_cbor(map).size() - 16;
    Json& sites = map["services"] = Json::array();
    for (const std::string& site : services) {
        if (sites.size() == ServerReport::services_max || site.size() + 3 > room) {
            break;
        }
        sites.push_back(site);
        room -= site.size() + 3;
    }
    Json::to_cbor(map, datagram);
    return datagram;
}

std::optional<Counter> decode_datagram(std::span<const std::uint8_t> datagram,
                                       ServerReport& report) {
    if (datagram.size() > datagram_bytes_max) {
        return Counter::datagrams_long;
    }
    if (datagram.size() <= datagram_header_bytes) {
        return Counter::datagrams_short;
    }
    if (!std::equal(magic.begin(), magic.end(), datagram.begin())) {
        return Counter::datagrams_malformed;
    }
    // Signed datagrams belong to a later version: a key id is another form of the format.
    if (datagram[version_offset] != datagram_format_version || datagram[version_offset + 1] != 0) {
        return Counter::datagrams_of_other_version;
    }

    report = ServerReport{};
    report.load.boot_id = get_big_endian(datagram.subspan(boot_id_offset));
    report.load.measurement = get_big_endian(datagram.subspan(measurement_offset));
    try {
        const auto body = datagram.subspan(datagram_header_bytes);
        const Json map = Json::from_cbor(body.begin(), body.end(), true, false);
        if (!map.is_object() || !from_map(map, report)) {
            return Counter::datagrams_malformed;
        }
    } catch (const std::exception&) {
        // The library throws for some lengths no datagram can have, even when told not to.
        return Counter::datagrams_malformed;
    }
    return std::nullopt;
}

}  // namespace backhand
