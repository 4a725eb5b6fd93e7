#include "cli/explain.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/text.h"
#include "cli/arguments.h"
#include "cli/status.h"

namespace backhand {

namespace {

// RFC 3986 section 2.3: what needs no percent sign.
std::string percent_encoded(std::string_view text) {
    constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:";
    std::string result;
    for (const char letter : text) {
        if (plain.find(letter) != std::string_view::npos) {
            result += letter;
        } else {
            std::array<char, 4> code{};
            std::snprintf(code.data(), code.size(), "%%%02X",
                          unsigned{static_cast<unsigned char>(letter)});
            result += code.data();
        }
    }
    return result;
}

bool is_http_url(std::string_view url) {
    const std::size_t scheme_end = std::min(url.find("://"), url.size());
    const std::string_view scheme = url.substr(0, scheme_end);
    const std::string_view rest = url.substr(std::min(scheme_end + 3, url.size()));
    return (equal_ignoring_case(scheme, "http") || equal_ignoring_case(scheme, "https")) &&
           !rest.empty() && rest.front() != '/';
}

bool is_header(std::string_view line) {
    const std::size_t colon = line.find(':');
    return colon != std::string_view::npos && colon != 0 &&
           line.substr(0, colon).find_first_of(" \t") == std::string_view::npos &&
           line.find_first_of("\r\n") == std::string_view::npos;
}

}  // namespace

Result<std::string> explain_url(const ExplainOptions& options) {
    if (!is_http_url(options.url)) {
        return bad_value("URL", options.url, "an http or https URL, for example http://web1/app");
    }
    for (const std::string& line : options.headers) {
        if (!is_header(line)) {
            return bad_value("--header", line,
                             "a field of the request, for example \"Cookie: PHPSESSID=0a000507\"");
        }
    }
    const std::size_t host = options.url.find("://") + 3;
    const std::string server =
        options.url.substr(0, std::min(options.url.find_first_of("/?#", host), options.url.size()));
    auto report = status_url(options.report.empty() ? server : options.report);
    if (!report) {
        return report;
    }
    std::string url = report->substr(0, std::min(report->find('?'), report->size()));
    url += "?explain=" + percent_encoded(options.url.substr(0, options.url.find('#')));
    url += options.method == "GET" ? "" : "&method=" + percent_encoded(options.method);
    for (const std::string& line : options.headers) {
        url += "&header=" + percent_encoded(line);
    }
    return url + (options.as_json ? "&format=json" : "");
}

std::string explain_answer(std::string_view answer) {
    std::string text{answer};
    std::replace_if(
        text.begin(), text.end(),
        [](char letter) { return letter != '\n' && (letter < ' ' || letter > '~'); }, '?');
    return text;
}

}  // namespace backhand
