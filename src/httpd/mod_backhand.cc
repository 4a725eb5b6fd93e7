// The module: which function httpd calls when, and why at that moment.
//
// What is called on every request is registered only by the directives that need it (httpd sorts
// its hooks once more after it has read them): a server that merely has the module loaded pays
// nothing for it.
#include <string>

#include "httpd/apache.h"
#include "httpd/challenge_handler.h"
#include "httpd/config.h"
#include "httpd/deciding.h"
#include "httpd/guard.h"
#include "httpd/hooks.h"
#include "httpd/identity.h"
#include "httpd/kept_worker.h"
#include "httpd/lifecycle.h"
#include "httpd/moderator_process.h"
#include "httpd/request_body.h"
#include "httpd/request_state.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

void log_unexpected(const char* what) noexcept {
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf, "unexpected: %s", what);
}

void register_request_hooks() {
    register_response_filters();
    register_body_filter();

    // Before any module has looked at who the client is (mod_remoteip, mod_setenvif, ...).
    ap_hook_post_read_request(&begin_count, nullptr, nullptr, APR_HOOK_REALLY_FIRST);
    // After access control, rewriting and the choice of handler; before any handler.
    ap_hook_handler(&handle_request, nullptr, nullptr, APR_HOOK_REALLY_FIRST);
    // Before any module that logs: some requests are not this server's.
    ap_hook_log_transaction(&end_count, nullptr, nullptr, APR_HOOK_REALLY_FIRST);

    // Around httpd's own, which is the last; mod_http2, mod_ssl and others come before and may take
    // the connection over.
    ap_hook_process_connection(&keep_worker, nullptr, nullptr, APR_HOOK_LAST);

    // Once mod_proxy, if it is there, knows which fields it will send.
    APR_OPTIONAL_HOOK(proxy, fixups, &note_visit, nullptr, nullptr, APR_HOOK_MIDDLE);

    // ---- What applications ask about the client's connection ----

    ap_hook_http_scheme(&restored_scheme, nullptr, nullptr, APR_HOOK_FIRST);
    ap_hook_default_port(&restored_port, nullptr, nullptr, APR_HOOK_FIRST);
    ap_hook_ssl_conn_is_ssl(&restored_is_ssl, nullptr, nullptr, APR_HOOK_FIRST);
    ap_hook_ssl_var_lookup(&restored_ssl_variable, nullptr, nullptr, APR_HOOK_FIRST);
}

void register_chain_hooks() {
    // Once this server's own proxies have been accounted for, before mod_cache and mod_headers put
    // in what the peer's will put in again.
    ap_hook_post_read_request(&keep_received_fields, nullptr, nullptr, APR_HOOK_REALLY_LAST);
}

void register_key_hooks() {
    // Before access control: the asked has to prove itself to whoever is a member.  And before
    // mod_cache, which may have another answer for this path.
    ap_hook_quick_handler(&Guarded<&answer_challenge>::call, nullptr, nullptr,
                          APR_HOOK_REALLY_FIRST);
}

namespace {

void register_hooks(apr_pool_t*) {
    // Once every module has registered its providers and before any Require is read.
    ap_hook_pre_config(&Guarded<&wrap_requirements>::call, nullptr, nullptr, APR_HOOK_LAST);
    ap_hook_check_config(&Guarded<&check_config>::call, nullptr, nullptr, APR_HOOK_LAST);
    // After the listeners are open: peers are told the first plain one.
    ap_hook_post_config(&Guarded<&set_up>::call, nullptr, nullptr, APR_HOOK_LAST);
    // After the scoreboard has been made, which the core does in the middle.
    ap_hook_pre_mpm(&Guarded<&start_after_scoreboard>::call, nullptr, nullptr,
                    APR_HOOK_REALLY_LAST);
    ap_hook_monitor(&Guarded<&start_missing_moderator>::call, nullptr, nullptr, APR_HOOK_MIDDLE);
    ap_hook_child_init(&Guarded<&set_up_child>::call, nullptr, nullptr, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(&Guarded<&note_stopping_child>::call, nullptr, nullptr, APR_HOOK_MIDDLE);
    ap_hook_child_status(&Guarded<&note_child>::call, nullptr, nullptr, APR_HOOK_MIDDLE);
}

}  // namespace

}  // namespace backhand::httpd

// The one symbol that leaves the module; see exports.map.
extern "C" {
__attribute__((visibility("default"))) module AP_MODULE_DECLARE_DATA backhand_module = {
    STANDARD20_MODULE_STUFF,
    &backhand::httpd::Guarded<&backhand::httpd::create_directory_config>::call,
    &backhand::httpd::merge_directory_config,
    &backhand::httpd::Guarded<&backhand::httpd::create_server_config>::call,
    nullptr,  // a virtual host says only what is its own
    &backhand::httpd::directives[0],
    &backhand::httpd::register_hooks,
    AP_MODULE_FLAG_NONE,
};
}
