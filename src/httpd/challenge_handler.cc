#include "httpd/challenge_handler.h"

#include <algorithm>
#include <string>

#include "announce/challenge.h"
#include "httpd/c_string.h"
#include "httpd/config.h"
#include "httpd/instance.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

namespace {

std::string answer_to(const Nonce& nonce, const Instance& instance) {
    const ClusterTable& table = instance.table;
    ServerView self;
    const bool known = table.view(self_slot, 0, monotonic_now(), self);
    const std::uint32_t serving = table.cells().quick().serving;
    const ChallengeAnswer answer{
        .boot_id = table.boot_id(),
        .measurement = table.next_measurement(),
        // Without this very request.
        .serving = serving - std::min(serving, 1U),
        .workers_idle = known ? self.workers_idle : 0,
    };
    return answer_text(nonce,
                       {.contact = instance.self.load.contact, .name = instance.self.name_view()},
                       answer, *instance.keys);
}

}  // namespace

int answer_challenge(request_rec* r, int lookup) {
    if (lookup != 0 || text_of(r->uri) != challenge_path) {
        return DECLINED;
    }
    const char* const question = apr_table_get(r->headers_in, challenge_field.data());
    const Instance* const instance = instance_of(r);
    if (question == nullptr || instance == nullptr || !instance->keys) {
        return DECLINED;
    }
    Counters& counters = instance->table.counters();
    const auto asker = IpAddress::parse(text_of(r->connection->client_ip));
    const auto nonce = asker && instance->settings().accept.contains(*asker)
                           ? read_challenge(question, instance->self.load.contact, *instance->keys)
                           : std::nullopt;
    if (!nonce) {
        // As if nobody had ever thought of answering here.
        counters.add(Counter::challenges_refused);
        return DECLINED;
    }
    const std::string text = answer_to(*nonce, *instance);
    counters.add(Counter::challenges_answered);
    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, static_cast<apr_off_t>(text.size()));
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rwrite(text.data(), static_cast<int>(text.size()), r);
    return OK;
}

}  // namespace backhand::httpd
