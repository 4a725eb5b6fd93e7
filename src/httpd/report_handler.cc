#include "httpd/report_handler.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/apache.h"
#include "httpd/config.h"
#include "httpd/explain_handler.h"
#include "httpd/instance.h"
#include "report/html.h"
#include "report/json.h"
#include "report/snapshot.h"

namespace backhand::httpd {

namespace {

bool wants_json(const request_rec* r) {
    const std::string_view query = r->args == nullptr ? std::string_view{} : r->args;
    return query == "format=json" || query.find("format=json&") == 0 ||
           query.find("&format=json") != std::string_view::npos;
}

std::vector<std::string> chains_of(const server_rec* server) {
    std::vector<std::string> chains;
    for (const WrittenChain& written : server_config(server).chains) {
        chains.push_back(written.section + ": " + written.chain->text());
    }
    return chains;
}

}  // namespace

int show_report(request_rec* r) {
    r->allowed |= AP_METHOD_BIT << M_GET;
    if (r->method_number != M_GET) {
        return DECLINED;
    }
    const Instance* const instance = instance_of(r);
    if (instance == nullptr) {
        return DECLINED;
    }
    if (asks_for_explanation(r)) {
        return show_explanation(r);
    }
    const ReportSnapshot snapshot = take_snapshot(
        instance->table, monotonic_now(), std::chrono::system_clock::now(), chains_of(r->server));
    const bool json = wants_json(r);
    const std::string text = json ? to_json(snapshot) : to_html(snapshot);
    ap_set_content_type(r, json ? "application/json" : "text/html; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rwrite(text.data(), static_cast<int>(text.size()), r);
    return OK;
}

}  // namespace backhand::httpd
