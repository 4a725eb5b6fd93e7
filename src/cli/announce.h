// `backhand announce`: makes a machine that runs no httpd a server of the cluster that others can
// forward requests to, by measuring and announcing it as a moderator does.
//
// Knows nothing of the web server that answers the requests, not even whether it runs.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "cli/announce_settings.h"

namespace backhand {

// Announces until it is asked to end (SIGTERM, SIGINT, SIGHUP), and then that the machine leaves.
Status run_announce(const AnnounceSettings& settings, const Log& log);

}  // namespace backhand
