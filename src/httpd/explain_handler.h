// ?explain=url of the report page: what would be decided about a request, and why.
#pragma once

#include <string_view>

#include "httpd/apache.h"

namespace backhand::httpd {

// Whether the report's query asks for an explanation.
bool asks_for_explanation(const request_rec* r);

// Answers it.  Nothing is forwarded, nobody is authenticated, no program is run.
int show_explanation(request_rec* r);

}  // namespace backhand::httpd
