// The request that is asked about does not exist, so httpd's phases are gone through for it: the
// virtual host by its Host field, the file by the modules that only look at the configuration, and
// the sections that apply to it.
//
// Not by a subrequest: that would run every module's phases, with them passwords, RewriteMap
// programs, and whatever else a module does in a phase.  Of each phase only the functions of the
// modules named here are called.
#include "httpd/explain_handler.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"
#include "decide/explain.h"
#include "httpd/c_string.h"
#include "httpd/config.h"
#include "httpd/deciding.h"
#include "httpd/instance.h"
#include "httpd/request_facts.h"
#include "report/explanation.h"

namespace backhand::httpd {

namespace {

constexpr std::size_t headers_max = 64;

struct Question {
    std::string method = "GET";
    std::string url;
    std::vector<std::string> headers;  // "Name: value"
    bool json = false;
};

// "name=value" of a query, decoded; nullopt if it cannot be.
std::optional<std::string> decoded(apr_pool_t* pool, std::string_view value) {
    char* const text = apr_pstrmemdup(pool, value.data(), value.size());
    if (ap_unescape_urlencoded(text) != OK) {
        return std::nullopt;
    }
    return text;
}

// Error malformed: what is wrong with it.
Result<Question> question_in(const request_rec* r) {
    Question question;
    std::string_view rest = text_of(r->args);
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('&'), rest.size());
        const std::string_view argument = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const std::size_t equals = std::min(argument.find('='), argument.size());
        const std::string_view name = argument.substr(0, equals);
        const auto value = decoded(r->pool, argument.substr(std::min(equals + 1, argument.size())));
        if (!value) {
            return Error{Error::Kind::malformed, "the query is not URL-encoded"};
        }
        if (name == "explain") {
            question.url = *value;
        } else if (name == "method") {
            question.method = *value;
        } else if (name == "header") {
            question.headers.push_back(*value);
        } else if (name == "format") {
            question.json = *value == "json";
        }
    }
    if (question.headers.size() > headers_max) {
        return Error{Error::Kind::malformed, "header: expected at most 64"};
    }
    return question;
}

// A line as in a request, without what could begin another.
bool add_header(request_rec* imagined, const std::string& line) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || colon == 0 ||
        line.find_first_of("\r\n") != std::string::npos ||
        line.substr(0, colon).find_first_of(" \t") != std::string::npos) {
        return false;
    }
    const std::size_t begin = std::min(line.find_first_not_of(" \t", colon + 1), line.size());
    apr_table_add(imagined->headers_in, apr_pstrdup(imagined->pool, line.substr(0, colon).c_str()),
                  apr_pstrdup(imagined->pool, line.substr(begin).c_str()));
    return true;
}

// Calls the functions that these modules have hooked, in httpd's order, until one has an answer.
template <class Link>
int run_those_of(const apr_array_header_t* hooked, std::initializer_list<std::string_view> modules,
                 request_rec* imagined, bool stop_at_ok) {
    if (hooked == nullptr) {
        return DECLINED;
    }
    const auto* const links = reinterpret_cast<const Link*>(hooked->elts);
    for (int index = 0; index < hooked->nelts; ++index) {
        const std::string_view module = text_of(links[index].szName);
        if (std::find(modules.begin(), modules.end(), module) == modules.end()) {
            continue;
        }
        const int answer = links[index].pFunc(imagined);
        if (answer != DECLINED && (answer != OK || stop_at_ok)) {
            return answer;
        }
    }
    return DECLINED;
}

// A request that was never received, on the connection of the one that asks.
class ImaginedRequest {
public:
    explicit ImaginedRequest(request_rec* asking)
        : request_(ap_create_request(asking->connection)) {
        request_->useragent_addr = asking->useragent_addr;
        request_->useragent_ip = asking->useragent_ip;
        request_->request_time = asking->request_time;
        request_->server = asking->server;
        request_->protocol = apr_pstrdup(request_->pool, "HTTP/1.1");
        request_->proto_num = HTTP_VERSION(1, 1);
    }

    ImaginedRequest(const ImaginedRequest&) = delete;
    ImaginedRequest& operator=(const ImaginedRequest&) = delete;

    ~ImaginedRequest() { apr_pool_destroy(request_->pool); }

    request_rec* get() const { return request_; }

    // Error malformed: what is wrong with the question.
    Status become(const Question& question);

    // What httpd would answer before anything is decided, or OK.
    int find_sections();

private:
    request_rec* const request_;
};

Status ImaginedRequest::become(const Question& question) {
    request_rec* const r = request_;
    r->method = apr_pstrdup(r->pool, question.method.c_str());
    r->method_number = ap_method_number_of(r->method);
    for (const std::string& line : question.headers) {
        if (!add_header(r, line)) {
            return Error{Error::Kind::malformed, "header \"" + line + "\": expected Name: value"};
        }
    }
    apr_uri_t uri;
    if (question.url.find_first_of(" \t\r\n") != std::string::npos ||
        apr_uri_parse(r->pool, apr_pstrdup(r->pool, question.url.c_str()), &uri) != APR_SUCCESS ||
        (uri.path == nullptr && uri.hostname == nullptr) ||
        (uri.path != nullptr && *uri.path != '/')) {
        return Error{Error::Kind::malformed, "\"" + question.url +
                                                 "\": expected a URL, for example "
                                                 "http://www.example.com/app?x=y"};
    }
    if (uri.hostname != nullptr && apr_table_get(r->headers_in, "Host") == nullptr) {
        apr_table_setn(r->headers_in, "Host", uri.hostinfo);
    }
    const char* const path = uri.path == nullptr ? "/" : uri.path;
    r->unparsed_uri = uri.query == nullptr ? apr_pstrdup(r->pool, path)
                                           : apr_pstrcat(r->pool, path, "?", uri.query, nullptr);
    r->the_request = apr_pstrcat(r->pool, r->method, " ", r->unparsed_uri, " HTTP/1.1", nullptr);
    r->uri = apr_pstrdup(r->pool, path);
    r->args = uri.query;
    apr_uri_parse(r->pool, r->unparsed_uri, &r->parsed_uri);
    if (ap_normalize_path(r->uri, AP_NORMALIZE_MERGE_SLASHES | AP_NORMALIZE_DECODE_UNRESERVED) ==
            0 ||
        ap_unescape_url(r->uri) != OK) {
        return Error{Error::Kind::malformed,
                     "\"" + question.url + "\": expected a path that httpd accepts"};
    }
    return Done{};
}

// The order of ap_process_request_internal().
int ImaginedRequest::find_sections() {
    request_rec* const r = request_;
    ap_update_vhost_from_headers(r);
    r->per_dir_config = r->server->lookup_defaults;
    run_those_of<ap_LINK_post_read_request_t>(ap_hook_get_post_read_request(), {"mod_setenvif.c"},
                                              r, false);
    if (const int answer = ap_location_walk(r); answer != OK) {
        return answer;
    }
    const int translated = run_those_of<ap_LINK_translate_name_t>(
        ap_hook_get_translate_name(),
        {"mod_alias.c", "mod_userdir.c", "mod_vhost_alias.c", "core.c"}, r, true);
    if (translated != OK) {
        return translated == DECLINED ? HTTP_NOT_FOUND : translated;
    }
    for (const auto walk : {&ap_directory_walk, &ap_file_walk, &ap_location_walk, &ap_if_walk}) {
        if (const int answer = walk(r); answer != OK) {
            return answer;
        }
    }
    run_those_of<ap_LINK_header_parser_t>(ap_hook_get_header_parser(), {"mod_setenvif.c"}, r,
                                          false);
    run_those_of<ap_LINK_type_checker_t>(ap_hook_get_type_checker(), {"mod_mime.c"}, r, true);
    return run_those_of<ap_LINK_fixups_t>(ap_hook_get_fixups(), {"core.c", "mod_env.c"}, r,
                                          false) == DECLINED
               ? OK
               : HTTP_INTERNAL_SERVER_ERROR;
}

void explain_to(request_rec* r, const Question& question, ImaginedRequest& imagined,
                Explanation& explanation, Remarks& remarks) {
    request_rec* const asked_about = imagined.get();
    const int answer = imagined.find_sections();
    remarks.push_back(question.method + " " + std::string(text_of(asked_about->unparsed_uri)) +
                      " for " + std::string(text_of(asked_about->hostname)) + ", virtual host " +
                      std::string(text_of(asked_about->server->server_hostname)) +
                      (asked_about->filename == nullptr
                           ? ""
                           : ", file " + std::string(text_of(asked_about->filename))));
    if (ap_find_linked_module("mod_rewrite.c") != nullptr) {
        remarks.emplace_back("RewriteRule lines are not run: what they change is not in this.");
    }
    if (answer != OK) {
        remarks.push_back("httpd itself answers with " + std::to_string(answer) +
                          ": nothing is decided.");
        return;
    }
    const DirectoryConfig& config = directory_config(asked_about);
    if (config.chain == nullptr || config.chain->is_off()) {
        remarks.emplace_back(config.chain == nullptr ? "No chain applies: served here."
                                                     : "Backhand off applies: served here.");
        return;
    }
    if (config.dry_run > 0) {
        remarks.emplace_back("BackhandDryRun On applies: served here whatever is decided.");
    }
    if (const char* const reason = reason_to_stay(asked_about)) {
        remarks.push_back(std::string("Served here whatever is decided: ") + reason + ".");
    }

    Instance& instance = *instance_of(r);
    const HttpdFacts facts{asked_about, instance.table.locations()};
    const RequestView request = view_of(asked_about, facts);
    Random random = instance.child->random.fork();
    const MonotonicTime now = monotonic_now();
    const DecisionContext context{.request = request,
                                  .table = instance.table,
                                  .random = random,
                                  .now = now,
                                  .forwarding_cost = instance.table.forwarding_cost(now),
                                  .prober = &instance.child->prober};
    CandidacySet set;
    Decision decision;
    explanation = explain(*config.chain, context, set, decision);
}

}  // namespace

bool asks_for_explanation(const request_rec* r) {
    const std::string_view query = text_of(r->args);
    return query.starts_with("explain=") || query.find("&explain=") != std::string_view::npos;
}

int show_explanation(request_rec* r) {
    const auto question = question_in(r);
    if (!question) {
        ap_set_content_type(r, "text/plain; charset=us-ascii");
        r->status = HTTP_BAD_REQUEST;
        ap_rprintf(r, "%s\n", question.error().detail.c_str());
        return OK;
    }
    ImaginedRequest imagined{r};
    if (const Status understood = imagined.become(*question); !understood) {
        ap_set_content_type(r, "text/plain; charset=us-ascii");
        r->status = HTTP_BAD_REQUEST;
        ap_rprintf(r, "%s\n", understood.error().detail.c_str());
        return OK;
    }
    Explanation explanation;
    Remarks remarks;
    explain_to(r, *question, imagined, explanation, remarks);
    const std::string text = question->json ? explanation_json(explanation, remarks)
                                            : explanation_text(explanation, remarks);
    ap_set_content_type(r, question->json ? "application/json" : "text/plain; charset=us-ascii");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rwrite(text.data(), static_cast<int>(text.size()), r);
    return OK;
}

}  // namespace backhand::httpd
