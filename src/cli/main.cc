// backhand: the administrator's program.
//
// `backhand status` shows in a terminal what a server's report page shows in a browser, so that a
// cluster can be looked at over ssh, and from scripts.  `backhand explain` asks a server why it
// would choose whom.  `backhand watch` prints what the servers
// announce, for other programs to use.  `backhand announce` makes a machine that runs no httpd one
// of the cluster.
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

#include "cli/announce.h"
#include "cli/announce_settings.h"
#include "cli/explain.h"
#include "cli/plugin.h"
#include "cli/simulate.h"
#include "cli/status.h"
#include "cli/watch.h"

namespace {

using backhand::AnnounceOptions;
using backhand::Error;
using backhand::LogLevel;
using backhand::Result;
using backhand::SimulateOptions;
using backhand::Status;
using backhand::WatchOptions;

constexpr int exit_failed = 1;
constexpr int exit_usage = 2;

void say(std::string_view what) {
    std::fprintf(stderr, "backhand: %.*s\n", static_cast<int>(what.size()), what.data());
}

int complain(std::string_view what, int exit_status) {
    say(what);
    return exit_status;
}

int complain(const Error& error) {
    return complain(error.detail, error.kind == Error::Kind::malformed ? exit_usage : exit_failed);
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

// ---- explain ----

int explain(const backhand::ExplainOptions& options) {
    const auto url = backhand::explain_url(options);
    if (!url) {
        return complain(url.error());
    }
    const auto answer = fetch(*url);
    if (!answer) {
        return complain(answer.error().detail, exit_failed);
    }
    std::fputs(backhand::explain_answer(*answer).c_str(), stdout);
    return 0;
}

std::function<int()> declare_explain(CLI::App& command) {
    const auto options = std::make_shared<backhand::ExplainOptions>();
    command.add_option("URL", options->url, "the request: http://www.example.com/app?x=1")
        ->required();
    command
        .add_option("--report", options->report,
                    "the report page of the server to ask; else /backhand/\n"
                    "of the server in URL")
        ->type_name("URL");
    command.add_option("--method", options->method, "the request's method")
        ->type_name("METHOD")
        ->capture_default_str();
    command.add_option("--header", options->headers, "a field of the request; may be repeated")
        ->type_name("\"NAME: VALUE\"")
        ->allow_extra_args(false);
    command.add_flag("--json", options->as_json, "print the explanation as JSON");
    command.footer(
        "Asks a server what it would decide about a request now, and why. Nothing is sent to\n"
        "any peer.\n\n"
        "  backhand explain http://www.example.com/shop/ --report web1 \\\n"
        "      --header \"Cookie: PHPSESSID=0a000507\"");
    return [options] { return explain(*options); };
}

// ---- watch ----

int watch(const WatchOptions& options) {
    const auto settings = backhand::read_watch_options(options);
    if (!settings) {
        return complain(settings.error());
    }
    const Status done = backhand::run_watch(*settings);
    return done ? 0 : complain(done.error());
}

std::function<int()> declare_watch(CLI::App& command) {
    const auto options = std::make_shared<WatchOptions>();
    command
        .add_option("DEST", options->destinations,
                    "what the servers announce to, as in their MulticastStats:\n"
                    "[my-ip] dest-ip:port")
        ->required()
        ->type_name("");
    command
        .add_option("--from", options->from,
                    "my-ip of every DEST that has none: an address of this\n"
                    "machine, on whose network to listen")
        ->type_name("IP");
    // One at a time: what follows may be a DEST.
    command
        .add_option("--key", options->key_files,
                    "a key file of the cluster (BackhandKey): print only what is\n"
                    "signed with it; may be repeated")
        ->type_name("FILE")
        ->allow_extra_args(false);
    command.add_option("--count", options->count, "end after so many lines")->type_name("N");
    command.add_flag("--all", options->all, "print also what a server drops, with the reason");
    command.footer(
        "Prints one line of JSON for each announcement, until it is interrupted.\n\n"
        "  backhand watch 239.220.221.20:4445 --from 10.0.5.10\n"
        "  backhand watch 10.0.5.255:4445 | jq -r '[.name, .workers_idle] | @tsv'");
    return [options] { return watch(*options); };
}

// ---- announce ----

int announce(const AnnounceOptions& options) {
    const auto settings = backhand::read_announce_options(options);
    if (!settings) {
        return complain(settings.error());
    }
    const Status done =
        backhand::run_announce(*settings, [](LogLevel, std::string_view text) { say(text); });
    return done ? 0 : complain(done.error());
}

std::function<int()> declare_announce(CLI::App& command) {
    const auto options = std::make_shared<AnnounceOptions>();
    command
        .add_option("--to", options->destinations,
                    "where the cluster's servers announce, as in their\n"
                    "MulticastStats: [my-ip] dest-ip:port[,ttl]")
        ->required()
        ->type_name("DEST");
    command
        .add_option("--contact", options->contact,
                    "where this machine's web server answers the requests of\n"
                    "peers, by plain HTTP")
        ->required()
        ->type_name("IP:PORT");
    command
        .add_option("--service", options->services,
                    "a site it offers, as the peers call it (ServerName,\n"
                    "BackhandService); no request comes for any other")
        ->type_name("SITE");
    command.add_option("--name", options->name, "what to call this machine; else its host name")
        ->type_name("NAME");
    command.add_option("--workers", options->workers, "how many requests it can serve at a time")
        ->type_name("N")
        ->capture_default_str();
    command
        .add_option("--keepalive-timeout", options->keepalive_timeout_ms,
                    "when it closes an idle connection; 0: after each response")
        ->type_name("MS")
        ->capture_default_str();
    command.add_option("--interval", options->interval_ms, "how often to announce")
        ->type_name("MS")
        ->capture_default_str();
    command
        .add_option("--from", options->from,
                    "my-ip of every DEST that has none: an address of this\n"
                    "machine, to send from")
        ->type_name("IP");
    command
        .add_option("--key", options->key_files,
                    "key files of the cluster (BackhandKey); the first one signs")
        ->type_name("FILE");
    command
        .add_option("--challenge-listen", options->challenge_listen,
                    "with keys: where to answer GET /.well-known/backhand, which\n"
                    "the web server must pass on")
        ->type_name("IP:PORT");
    command
        .add_option("--state-dir", options->state_directory,
                    "what must outlive a boot; else /var/lib/backhand-announce,\n"
                    "or backhand-announce in the user's state directory")
        ->type_name("DIR");
    command.footer(
        "Measures this machine and announces it, until it is told to end; then announces that\n"
        "it leaves.\n\n"
        "  backhand announce --to 239.220.221.20:4445 --contact 10.0.5.7:8080 \\\n"
        "      --service www.example.com --workers 64");
    return [options] { return announce(*options); };
}

// ---- plugin ----

std::function<int()> declare_plugin(CLI::App& command) {
    struct Options {
        std::string file;
        std::string function;
        std::string argument;
    };

    const auto options = std::make_shared<Options>();
    command.require_subcommand(1);
    CLI::App* const check =
        command.add_subcommand("check", "Run a plug-in against made clusters, say what is wrong");
    check->add_option("FILE", options->file, "the shared object")->required();
    check->add_option("FUNCTION", options->function,
                      "as in BackhandFromSO; else the first plug-in of the file");
    check->add_option("ARGUMENT", options->argument, "its argument");
    return [options] {
        return backhand::check_plugin(options->file, options->function, options->argument);
    };
}

// ---- simulate ----

std::function<int()> declare_simulate(CLI::App& command) {
    const auto options = std::make_shared<SimulateOptions>();
    command.add_option("SCENARIO", options->file, "what to simulate: see docs/simulator.md")
        ->required()
        ->type_name("FILE");
    command.add_option("--seed", options->seed, "of the first replication; else the scenario's")
        ->type_name("N");
    command.add_option("--replications", options->replications, "with seeds that follow")
        ->type_name("N");
    command.add_option("--requests", options->requests, "measured in each replication")
        ->type_name("N");
    command.add_option("--jobs", options->jobs, "how many CPUs to use; else all")->type_name("N");
    command.add_option("--format", options->format, "table, csv or json")
        ->type_name("FORMAT")
        ->capture_default_str();
    command.add_option("--output", options->output, "where to write it; else standard output")
        ->type_name("FILE");
    command.add_option("--html", options->html, "write a report with plots, too")
        ->type_name("FILE");
    command.add_flag("--quiet", options->quiet, "show no progress");
    command.add_flag("--check", options->trial, "only read the scenario");
    command.footer(
        "The same scenario and seed give the same figures to the last bit.\n\n"
        "  backhand simulate examples/simulate/old_news.toml --html report.html");
    return [options] {
        const Status done = backhand::run_simulate(*options);
        return done ? 0 : complain(done.error());
    };
}

// ---- all commands ----

struct Command {
    const char* name;
    const char* description;
    // Declares the command's options, and returns what runs it once they are parsed.
    std::function<int()> (*declare)(CLI::App& command);
};

constexpr std::array<Command, 6> commands = {{
    {"status", "Show what a server knows of its cluster", declare_status},
    {"explain", "Ask a server what it would decide about a request, and why", declare_explain},
    {"watch", "Print what the servers of a cluster announce, as lines of JSON", declare_watch},
    {"announce", "Make a machine without httpd a server of the cluster", declare_announce},
    {"plugin", "Try a plug-in outside httpd", declare_plugin},
    {"simulate", "Try chains out on a simulated cluster", declare_simulate},
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
        const auto chosen = program.get_subcommands();
        const std::string name = chosen.empty() ? "" : " " + chosen.front()->get_name();
        return complain(error.what() + (" (see backhand" + name + " --help)"), exit_usage);
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
