// Registering the functions that httpd calls on every request.
//
// Called by directives while the configuration is read; twice does no harm to correctness but
// costs, so each is called once (GlobalSettings remembers).
#pragma once

namespace backhand::httpd {

void register_request_hooks();  // MulticastStats: the module takes part in a cluster
void register_chain_hooks();    // Backhand, BackhandFromSO: requests may be forwarded
void register_key_hooks();      // BackhandKey: challenges are answered

}  // namespace backhand::httpd
