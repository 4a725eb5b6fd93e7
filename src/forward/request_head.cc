#include "forward/request_head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "forward/parameters.h"

namespace backhand {

namespace {

constexpr std::array<std::string_view, 5> exchange_names = {"client-port", "local-port", "site",
                                                            "scheme", "version"};
constexpr std::array<std::string_view, 4> load_names = {"boot", "measurement", "serving", "idle"};

// What either of these values takes, all numbers at their longest.
constexpr std::size_t value_bytes_max = 128;

constexpr std::array<std::pair<HttpVersion, std::string_view>, 3> version_names = {{
    {HttpVersion::http_1_0, "1.0"},
    {HttpVersion::http_1_1, "1.1"},
    {HttpVersion::http_2, "2.0"},
}};

std::string_view name_of(HttpVersion version) {
    return version_names[static_cast<std::size_t>(version)].second;
}

std::optional<HttpVersion> version_named(std::string_view name) {
    for (const auto& [version, its_name] : version_names) {
        if (its_name == name) {
            return version;
        }
    }
    return std::nullopt;
}

std::optional<bool> is_https(std::string_view scheme) {
    if (scheme == "https") {
        return true;
    }
    return scheme == "http" ? std::optional{false} : std::nullopt;
}

// A space would end the target early, and a line end the request line.
bool is_target(std::string_view text) {
    return !text.empty() && is_field_value(text) &&
           text.find_first_of(" \t") == std::string_view::npos;
}

// Everything the client's Connection fields name, as one list.
std::string connection_options(const std::vector<HeaderField>& fields) {
    std::string options;
    for (const HeaderField& field : fields) {
        if (equal_ignoring_case(field.name, "Connection")) {
            options.append(field.value).append(",");
        }
    }
    return options;
}

// Host apart, which is written first.
bool is_passed_on(const HeaderField& field, std::string_view options) {
    const bool ours = is_our_field(field.name) && !equal_ignoring_case(field.name, visited_field);
    const bool replaced = equal_ignoring_case(field.name, "Host") ||
                          equal_ignoring_case(field.name, "Content-Length") ||
                          equal_ignoring_case(field.name, "Expect") || ours;
    return !replaced && !is_hop_by_hop(field.name) && !list_has_token(options, field.name) &&
           is_token(field.name) && is_field_value(field.value);
}

void append_via(std::string& text, std::string_view server) {
    text.append("1.1 ").append(server).append(" (backhand)");
}

void append_field(std::string& text, std::string_view name, std::string_view value) {
    text.append(name).append(": ").append(value).append("\r\n");
}

// No less than the head's text has, and little more.
std::size_t size_bytes_max(const RequestHead& head) {
    constexpr std::size_t of_our_fields = 2 * value_bytes_max + 512;
    std::size_t bytes = of_our_fields + head.method.size() + head.target.size() + head.via.size();
    for (const HeaderField& field : head.fields) {
        bytes += field.name.size() + field.value.size() + 4;
    }
    return bytes;
}

void append_framing(std::string& text, const RequestHead& head) {
    switch (head.body) {
        case RequestHead::Body::none:
            return;
        case RequestHead::Body::length:
            append_field(text, "Content-Length", std::to_string(head.length_bytes));
            break;
        case RequestHead::Body::chunked:
            append_field(text, "Transfer-Encoding", "chunked");
            break;
    }
    if (head.expect_continue) {
        append_field(text, "Expect", "100-continue");
    }
}

}  // namespace

bool is_our_field(std::string_view name) {
    constexpr std::string_view prefix = "Backhand-";
    return equal_ignoring_case(name.substr(0, prefix.size()), prefix);
}

std::string via_value(std::string_view server) {
    std::string value;
    append_via(value, server);
    return value;
}

std::string_view without_via_of(std::string_view via, std::string_view server) {
    const std::string ours = via_value(server);
    if (!via.ends_with(ours)) {
        return via;
    }
    via.remove_suffix(ours.size());
    while (via.ends_with(' ') || via.ends_with(',')) {
        via.remove_suffix(1);
    }
    return via;
}

std::string exchange_value(const ClientIdentity& identity) {
    std::string value;
    value.reserve(value_bytes_max);
    append_number(value.append("client-port="), identity.client_port);
    append_number(value.append(";local-port="), identity.local_port);
    append_number(value.append(";site="), identity.site);
    value.append(identity.https ? ";scheme=https" : ";scheme=http");
    value.append(";version=").append(name_of(identity.version));
    return value;
}

std::optional<ClientIdentity> parse_identity(std::string_view proxied, std::string_view exchange) {
    const auto client = IpAddress::parse(proxied);
    const auto values = parameters(exchange, exchange_names);
    if (!values) {
        return std::nullopt;
    }
    const auto client_port = parse_number<std::uint16_t>((*values)[0]);
    const auto local_port = parse_number<std::uint16_t>((*values)[1]);
    const auto site = parse_number<std::uint64_t>((*values)[2]);
    const auto https = is_https((*values)[3]);
    const auto version = version_named((*values)[4]);

    // One spelling for one address: what is logged and matched is then what was sent.
    if (!client || client->to_string() != proxied) {
        return std::nullopt;
    }
    if (!client_port || !local_port || !site || !https || !version) {
        return std::nullopt;
    }
    return ClientIdentity{*client, *client_port, *local_port, *site, *https, *version};
}

std::string load_value(const LoadNews& news) {
    std::string value;
    value.reserve(value_bytes_max);
    append_number(value.append("boot="), news.boot_id);
    append_number(value.append(";measurement="), news.measurement);
    append_number(value.append(";serving="), news.serving);
    append_number(value.append(";idle="), news.workers_idle);
    return value;
}

std::optional<LoadNews> parse_load(std::string_view value) {
    const auto values = parameters(value, load_names);
    if (!values) {
        return std::nullopt;
    }
    const auto boot_id = parse_number<std::uint64_t>((*values)[0]);
    const auto measurement = parse_number<std::uint64_t>((*values)[1]);
    const auto serving = parse_number<std::uint32_t>((*values)[2]);
    const auto workers_idle = parse_number<std::uint32_t>((*values)[3]);
    if (!boot_id || !measurement || !serving || !workers_idle) {
        return std::nullopt;
    }
    return LoadNews{*boot_id, *measurement, *serving, *workers_idle};
}

bool is_hop_by_hop(std::string_view name) {
    const auto is = [name](std::string_view other) { return equal_ignoring_case(name, other); };
    // By length first: every field of every message is asked about, and few are one of these.
    switch (name.size()) {
        case 2:
            return is("TE");
        case 7:
            return is("Trailer") || is("Upgrade");
        case 10:
            return is("Connection") || is("Keep-Alive");
        case 16:
            return is("Proxy-Connection");
        case 17:
            return is("Transfer-Encoding");
        default:
            return false;
    }
}

Result<std::string_view> RequestHead::host() const {
    std::optional<std::string_view> found;
    for (const HeaderField& field : fields) {
        if (!equal_ignoring_case(field.name, "Host") || !is_field_value(field.value)) {
            continue;
        }
        if (found) {
            return Error{Error::Kind::malformed, "a request with more than one Host"};
        }
        found = field.value;
    }
    // httpd answers 400 to an HTTP/1.1 request with an empty Host as well as to one without.
    if (!found || found->empty()) {
        return Error{Error::Kind::malformed, "a request without a Host"};
    }
    return *found;
}

Result<std::string> request_head_text(const RequestHead& head) {
    if (!is_token(head.method)) {
        return Error{Error::Kind::malformed, "a method that is not a token"};
    }
    if (!is_target(head.target)) {
        return Error{Error::Kind::malformed, "a target that could end the request line"};
    }
    const Result<std::string_view> host = head.host();
    if (!host) {
        return host.error();
    }

    std::string text;
    text.reserve(size_bytes_max(head));
    text.append(head.method).append(" ").append(head.target).append(" HTTP/1.1\r\n");
    append_field(text, "Host", *host);
    const std::string options = connection_options(head.fields);
    for (const HeaderField& field : head.fields) {
        if (is_passed_on(field, options)) {
            append_field(text, field.name, field.value);
        }
    }
    append_framing(text, head);
    if (!head.upgrade.empty()) {
        append_field(text, "Connection", "Upgrade");
        append_field(text, "Upgrade", head.upgrade);
    }
    if (!head.via.empty()) {
        append_via(text.append("Via: "), head.via);
        text.append("\r\n");
    }
    append_field(text, proxied_field, head.proxied);
    append_field(text, exchange_field, head.exchange);
    return text;
}

void append_chunk(std::string& text, std::string_view data) {
    std::array<char, 16> size{};
    const auto written = std::to_chars(size.data(), size.data() + size.size(), data.size(), 16);
    text.append(size.data(), written.ptr);
    text += "\r\n";
    text += data;
    text += "\r\n";
}

}  // namespace backhand
