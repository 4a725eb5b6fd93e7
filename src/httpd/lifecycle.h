// From reading the configuration to serving: what is set up when, and by which process.
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

// Hook check_config: finds what the directives alone cannot (also for `apache2ctl configtest`).
int check_config(apr_pool_t* pconf, apr_pool_t* plog, apr_pool_t* ptemp, server_rec* main_server);

// Hook post_config: makes the instance, the shared memory, the sockets; as root.
int set_up(apr_pool_t* pconf, apr_pool_t* plog, apr_pool_t* ptemp, server_rec* main_server);

// Hook pre_mpm: on a first start the scoreboard exists from here on, and the moderator can be
// forked.  (httpd leaves this hook out on a graceful restart; then set_up does it.)
int start_after_scoreboard(apr_pool_t* pool, ap_scoreboard_e type);

// Hook child_init.
void set_up_child(apr_pool_t* pchild, server_rec* main_server);

// Hook child_stopping: this child takes no more requests.
void note_stopping_child(apr_pool_t* pchild, int graceful);

// Hook child_status, in the parent: clears the counts of a child that is gone.
void note_child(server_rec* main_server, pid_t pid, ap_generation_t generation, int slot,
                mpm_child_status status);

}  // namespace backhand::httpd
