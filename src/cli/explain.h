// What `backhand explain` does besides fetching: how the question is put to a server's report page.
//
// The decision belongs to the server that is asked: its chain, its news of the cluster, its count
// of requests.  So the program decides nothing itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace backhand {

struct ExplainOptions {
    std::string url;       // of the request that is asked about
    std::string report{};  // the report page to ask; empty: /backhand/ of the same server
    std::string method = "GET";
    std::vector<std::string> headers{};  // "Name: value"
    bool as_json = false;
};

// The address that answers.  malformed says which of the options cannot be used, and why.
Result<std::string> explain_url(const ExplainOptions& options);

// What a terminal may be shown of an answer: printable ASCII and ends of lines.
std::string explain_answer(std::string_view answer);

}  // namespace backhand
