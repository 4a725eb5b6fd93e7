// backhand: the administrator's program.
//
// `backhand status` shows in a terminal what a server's report page shows in a browser, so that a
// cluster can be looked at over ssh, and from scripts.
//
// Exit status: 0, 1 if the command failed, 2 if it was not understood.
#include <array>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <curl/curl.h>

#include "cli/status.h"

namespace {

using backhand::Error;
using backhand::Result;

constexpr int exit_failed = 1;
constexpr int exit_usage = 2;

int complain(std::string_view what, int exit_status) {
    std::fprintf(stderr, "backhand: %.*s\n", static_cast<int>(what.size()), what.data());
    return exit_status;
}

// ---- status ----

// 1,024 servers make about 1 MiB.
constexpr std::size_t answer_bytes_max = std::size_t{16} << 20U;

struct CurlEnd {
    void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};

std::size_t append_answer(const char* bytes, std::size_t size, std::size_t count, void* answer) {
    auto& text = *static_cast<std::string*>(answer);
    if (text.size() + size * count > answer_bytes_max) {
        return 0;
    }
    text.append(bytes, size * count);
    return size * count;
}

Result<std::string> fetch(const std::string& url) {
    const std::unique_ptr<CURL, CurlEnd> curl{curl_easy_init()};
    if (!curl) {
        return Error{Error::Kind::system, "libcurl cannot be used here"};
    }

    std::string answer;
    std::array<char, CURL_ERROR_SIZE> why{};
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_MAXREDIRS, 3L);
    curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, 5L);
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 10L);
    curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "backhand/" BACKHAND_VERSION);
    curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, why.data());
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &append_answer);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);

    const CURLcode outcome = curl_easy_perform(curl.get());
    if (outcome != CURLE_OK) {
        const char* const reason = why[0] != '\0' ? why.data() : curl_easy_strerror(outcome);
        return Error{Error::Kind::unavailable, url + ": " + reason};
    }
    long status = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        return Error{Error::Kind::broken,
                     url + ": the server answered with status " + std::to_string(status)};
    }
    return answer;
}

int show_status(const std::string& typed, bool as_json) {
    const auto url = backhand::status_url(typed);
    if (!url) {
        return complain(url.error().detail, exit_usage);
    }
    const auto answer = fetch(*url);
    if (!answer) {
        return complain(answer.error().detail, exit_failed);
    }
    const auto text = as_json ? backhand::status_json(*answer) : backhand::status_table(*answer);
    if (!text) {
        return complain(*url + ": " + text.error().detail, exit_failed);
    }
    std::fputs(text->c_str(), stdout);
    return 0;
}

std::function<int()> declare_status(CLI::App& command) {
    struct Options {
        std::string url;
        bool as_json = false;
    };

    const auto options = std::make_shared<Options>();
    command
        .add_option("URL", options->url,
                    "a server, or its report page: web1, http://web1/backhand/")
        ->required();
    command.add_flag("--json", options->as_json, "print the whole report as JSON");
    return [options] { return show_status(options->url, options->as_json); };
}

// ---- all commands ----

struct Command {
    const char* name;
    const char* description;
    // Declares the command's options, and returns what runs it once they are parsed.
    std::function<int()> (*declare)(CLI::App& command);
};

constexpr std::array<Command, 1> commands = {{
    {"status", "Show what a server knows of its cluster", declare_status},
}};

int run(int argc, char** argv) {
    CLI::App program{"Looks after a cluster of web servers that run mod_backhand.", "backhand"};
    program.set_version_flag("--version", "backhand " BACKHAND_VERSION);
    program.require_subcommand(1);

    std::vector<std::pair<CLI::App*, std::function<int()>>> declared;
    for (const Command& command : commands) {
        CLI::App* const app = program.add_subcommand(command.name, command.description);
        declared.emplace_back(app, command.declare(*app));
    }

    try {
        program.parse(argc, argv);
    } catch (const CLI::Success& asked_for_text) {
        return program.exit(asked_for_text);
    } catch (const CLI::ParseError& error) {
        return complain(error.what() + std::string{" (see backhand --help)"}, exit_usage);
    }

    for (const auto& [app, run_command] : declared) {
        if (app->parsed()) {
            return run_command();
        }
    }
    return exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        return complain(error.what(), exit_failed);
    }
}
