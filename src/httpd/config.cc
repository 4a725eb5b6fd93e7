#include "httpd/config.h"

#include "httpd/apache.h"
#include "httpd/guard.h"
#include "httpd/pool_object.h"

namespace backhand::httpd {

void* create_server_config(apr_pool_t* pool, server_rec*) {
    return &make_in_pool<ServerConfig>(pool);
}

void* create_directory_config(apr_pool_t* pool, char*) {
    return new (apr_palloc(pool, sizeof(DirectoryConfig))) DirectoryConfig{};
}

namespace {

// A section that says anything about the chain says all of it: a chain is an order, and half an
// order from elsewhere would be a surprise.
[[gnu::noinline]] DirectoryConfig* merged_config(apr_pool_t* pool,
                                                 const DirectoryConfig& from_outer,
                                                 const DirectoryConfig& from_inner) {
    auto* const merged = new (apr_palloc(pool, sizeof(DirectoryConfig))) DirectoryConfig{};
    merged->chain = from_inner.chain != nullptr ? from_inner.chain : from_outer.chain;
    merged->dry_run = from_inner.dry_run >= 0 ? from_inner.dry_run : from_outer.dry_run;
    merged->self_redirect =
        from_inner.self_redirect >= 0 ? from_inner.self_redirect : from_outer.self_redirect;
    merged->trace = from_inner.trace != nullptr ? from_inner.trace : from_outer.trace;
    merged->written = true;
    return merged;
}

}  // namespace

// Called several times for every request to a section with a directive of ours.  Where nothing is
// said outside that section, which is usual, its record is the answer.
void* merge_directory_config(apr_pool_t* pool, void* outer, void* inner) noexcept {
    const auto& from_outer = *static_cast<const DirectoryConfig*>(outer);
    return from_outer.written
               ? merged_config(pool, from_outer, *static_cast<const DirectoryConfig*>(inner))
               : inner;
}

void separate_server_configs(apr_pool_t* pool, server_rec* main_server) {
    const ServerConfig& shared = server_config(main_server);
    for (server_rec* server = main_server->next; server != nullptr; server = server->next) {
        if (&server_config(server) == &shared) {
            ap_set_module_config(server->module_config, &backhand_module,
                                 create_server_config(pool, server));
        }
    }
}

}  // namespace backhand::httpd
