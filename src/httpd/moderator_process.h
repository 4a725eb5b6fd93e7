// The moderator as a process: forked by httpd's parent, watched by it, brought back when it dies.
#pragma once

#include "httpd/apache.h"
#include "httpd/instance.h"

namespace backhand::httpd {

// Forks the moderator and has httpd's parent tell us when it ends.  After a restart the previous
// generation's moderator is left to notice its successor, so that announcing never pauses.
// REQUIRES: in the parent, the scoreboard exists.
int start_moderator(Instance& instance);

}  // namespace backhand::httpd
