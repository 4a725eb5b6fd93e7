#include "forward/request_head.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "forward/parameters.h"

namespace backhand {

namespace {

// Which of two words a parameter is: true for the first, nullopt for a third.
std::optional<bool> either_parameter(std::string_view list, std::string_view name,
                                     std::string_view when_true, std::string_view when_false) {
    const auto value = parameter(list, name);
    if (value == when_true) {
        return true;
    }
    return value == when_false ? std::optional{false} : std::nullopt;
}

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
    const bool replaced = equal_ignoring_case(field.name, "Host") ||
                          equal_ignoring_case(field.name, "Content-Length") ||
                          equal_ignoring_case(field.name, "Expect") || is_our_field(field.name);
    return !replaced && !is_hop_by_hop(field.name) && !list_has_token(options, field.name) &&
           is_token(field.name) && is_field_value(field.value);
}

void append_field(std::string& text, std::string_view name, std::string_view value) {
    text.append(name).append(": ").append(value).append("\r\n");
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

std::string proxied_value(const ClientIdentity& identity) {
    return identity.client.to_string();
}

std::string exchange_value(const ClientIdentity& identity) {
    std::string value = "client-port=" + std::to_string(identity.client_port);
    value += ";local-port=" + std::to_string(identity.local_port);
    value += ";site=" + std::to_string(identity.site);
    value += identity.https ? ";scheme=https" : ";scheme=http";
    value += ";version=";
    value += name_of(identity.version);
    return value;
}

std::optional<ClientIdentity> parse_identity(std::string_view proxied, std::string_view exchange) {
    const auto client = IpAddress::parse(proxied);
    const auto client_port = number_parameter<std::uint16_t>(exchange, "client-port");
    const auto local_port = number_parameter<std::uint16_t>(exchange, "local-port");
    const auto site = number_parameter<std::uint64_t>(exchange, "site");
    const auto https = either_parameter(exchange, "scheme", "https", "http");
    const auto version = version_named(parameter(exchange, "version").value_or(""));

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
    std::string value = "boot=" + std::to_string(news.boot_id);
    value += ";measurement=" + std::to_string(news.measurement);
    value += ";serving=" + std::to_string(news.serving);
    value += ";idle=" + std::to_string(news.workers_idle);
    return value;
}

std::optional<LoadNews> parse_load(std::string_view value) {
    const auto boot_id = number_parameter<std::uint64_t>(value, "boot");
    const auto measurement = number_parameter<std::uint64_t>(value, "measurement");
    const auto serving = number_parameter<std::uint32_t>(value, "serving");
    const auto workers_idle = number_parameter<std::uint32_t>(value, "idle");
    if (!boot_id || !measurement || !serving || !workers_idle) {
        return std::nullopt;
    }
    return LoadNews{*boot_id, *measurement, *serving, *workers_idle};
}

bool is_hop_by_hop(std::string_view name) {
    constexpr std::array<std::string_view, 7> names = {
        "Connection", "Keep-Alive",        "Proxy-Connection", "TE",
        "Trailer",    "Transfer-Encoding", "Upgrade"};
    return std::any_of(names.begin(), names.end(), [name](std::string_view hop_by_hop) {
        return equal_ignoring_case(name, hop_by_hop);
    });
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
    text.append(head.method).append(" ").append(head.target).append(" HTTP/1.1\r\n");
    append_field(text, "Host", *host);
    const std::string options = connection_options(head.fields);
    for (const HeaderField& field : head.fields) {
        if (is_passed_on(field, options)) {
            append_field(text, field.name, field.value);
        }
    }
    append_framing(text, head);
    append_field(text, proxied_field, head.proxied);
    append_field(text, exchange_field, head.exchange);
    return text;
}

}  // namespace backhand
