// Answering a peer that asks whether this server holds the cluster's key (announce/challenge.h).
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

// Hook quick_handler.
int answer_challenge(request_rec* r, int lookup);

}  // namespace backhand::httpd
