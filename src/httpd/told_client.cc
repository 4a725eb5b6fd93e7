#include "httpd/told_client.h"

#include "httpd/c_string.h"
#include "httpd/config.h"
#include "httpd/identity.h"
#include "httpd/pool_object.h"

namespace backhand::httpd {

namespace {

HttpVersion version_of(const request_rec* r) {
    if (r->proto_num < HTTP_VERSION(1, 1)) {
        return HttpVersion::http_1_0;
    }
    return r->proto_num < HTTP_VERSION(2, 0) ? HttpVersion::http_1_1 : HttpVersion::http_2;
}

}  // namespace

const ToldClient* told_client(request_rec* r) {
    ConnectionState& state = connection_state(r->connection);
    if (state.told == nullptr) {
        state.told = &make_in_pool<ToldClient>(r->connection->pool);
    }
    ToldClient& told = *state.told;

    // Modules may have found out another address, request by request (mod_remoteip).
    const std::string_view address = text_of(r->useragent_ip);
    const ClientIdentity identity{
        .client = {},
        .client_port = r->useragent_addr->port,
        .local_port = r->connection->local_addr->port,
        .site = server_config(r->server).service_hash,
        .https = text_of(ap_http_scheme(r)) == "https",
        .version = version_of(r),
    };
    if (told.address == address && told.identity == identity) {
        return &told;
    }
    const auto client = IpAddress::parse(address);
    if (!client) {
        return nullptr;
    }
    told.address = address;
    told.identity = identity;
    told.proxied = client->to_string();
    told.exchange = exchange_value(identity);
    return &told;
}

}  // namespace backhand::httpd
