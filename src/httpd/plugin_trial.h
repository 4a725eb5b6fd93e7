// Trying a plug-in before anything depends on it.
#pragma once

#include <string>

#include "httpd/apache.h"
#include "httpd/seed_plugin.h"

namespace backhand::httpd {

// Loads the plug-in in a process that has given up its privileges: code that is not ours must not
// run in httpd's parent, not even its constructors.  Returns what is wrong, or nothing.
std::string try_plugin(const SeedPlugin& plugin, apr_pool_t* pool, server_rec* server);

}  // namespace backhand::httpd
