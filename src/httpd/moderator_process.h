// The moderator as a process: forked by httpd's parent, watched by it, brought back when it dies.
#pragma once

#include "httpd/apache.h"
#include "httpd/instance.h"

namespace backhand::httpd {

// Forks the moderator and has httpd's parent tell us when it ends.  After a restart the previous
// generation's moderator is left to notice its successor, so that announcing never pauses.
// REQUIRES: in the parent, the scoreboard exists.
void start_moderator(Instance& instance);

// Hook monitor, which httpd's parent calls every ten seconds or more often: starts the moderator if
// the system had no room for another process when that was tried last.
int start_missing_moderator(apr_pool_t* pool, server_rec* main_server);

}  // namespace backhand::httpd
