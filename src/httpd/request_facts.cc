#include "httpd/request_facts.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "cluster/location_times.h"
#include "httpd/c_string.h"
#include "httpd/config.h"

namespace backhand::httpd {

// Not apr_table_getm(), which joins the lines in new memory.
std::optional<std::string_view> HttpdFacts::header(const char* name, std::size_t nth) const {
    const apr_array_header_t* const fields = apr_table_elts(r_->headers_in);
    const auto* const entries = reinterpret_cast<const apr_table_entry_t*>(fields->elts);
    for (int index = 0; index < fields->nelts; ++index) {
        if (equal_ignoring_case(text_of(entries[index].key), name) && nth-- == 0) {
            return text_of(entries[index].val);
        }
    }
    return std::nullopt;
}

std::optional<std::string_view> HttpdFacts::environment(const char* name) const {
    const char* const value = apr_table_get(r_->subprocess_env, name);
    return value == nullptr ? std::nullopt : std::optional{std::string_view{value}};
}

IpAddress HttpdFacts::client() const {
    const apr_sockaddr_t* const address = r_->useragent_addr;
    sockaddr_storage storage{};
    std::memcpy(&storage, &address->sa,
                std::min<std::size_t>(static_cast<std::size_t>(address->salen), sizeof storage));
    return IpAddress::from(storage).value_or(IpAddress{});
}

bool HttpdFacts::is_tls() const {
    return text_of(ap_http_scheme(r_)) == "https";
}

std::string_view HttpdFacts::virtual_host() const {
    return text_of(r_->server->server_hostname);
}

std::optional<Nanoseconds> HttpdFacts::location_time() const {
    return locations_.mean(location_key_of(r_));
}

// Where httpd knows no better it names the content's type as the handler; all else executes.
std::uint64_t location_key_of(const request_rec* r) {
    const std::string_view handler = text_of(r->handler);
    const bool executes = !handler.empty() && handler.find('/') == std::string_view::npos;
    return location_key(server_config(r->server).service_hash, text_of(r->uri), executes);
}

}  // namespace backhand::httpd
