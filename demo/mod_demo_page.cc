// mod_demo_page: a page that costs its server about 10 ms, and names that server.
//
// To show load balancing, a demonstration needs servers that can be full.  What fills one of ours
// is this page, in one of two ways:
//   burn    the thread burns CPU time, counted by the clock of the thread itself.  A loop of so
//           many iterations would cost less on a faster machine, and wall time would go by for
//           free while the thread waits for its CPU quota; thread time does neither.  The query
//           "us=2500" asks for a page of another cost, in microseconds.
//   tokens  for machines where no CPU quota can be had: the page takes one of the server's k
//           tokens and holds it while it sleeps, so that a server serves k pages at a time.
//
// A token is an entry in a calendar: one 64-bit number in a small file, the moment at which the
// token is free again.  Whoever wants a token takes the one that is free first, writes down until
// when it will have it, and sleeps until then.  Requests are served in the order they came; nothing
// has to be given back, so a child that is killed leaks no token; and the lock that guards the
// file, held for some microseconds, is one that the kernel takes back from the dead.
//
// Thread safety: settings are written while the configuration is read and only read afterwards.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

// httpd.h comes first: the others do not include what they use.
// clang-format off
#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "http_protocol.h"
// clang-format on

#pragma GCC visibility push(default)
extern "C" {
extern module AP_MODULE_DECLARE_DATA demo_page_module;
}
#pragma GCC visibility pop

APLOG_USE_MODULE(demo_page);

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::size_t tokens_count_max = 64;
constexpr int cost_ms_max = 10'000;

enum class Mode { burn, tokens };

struct Settings {
    const char* server_name;
    Mode mode;
    milliseconds cost;
    std::size_t tokens_count;
    const char* tokens_file;
};

nanoseconds now(clockid_t clock) {
    timespec reading{};
    clock_gettime(clock, &reading);
    return std::chrono::seconds(reading.tv_sec) + nanoseconds(reading.tv_nsec);
}

void burn(nanoseconds cost) {
    const nanoseconds end = now(CLOCK_THREAD_CPUTIME_ID) + cost;
    while (now(CLOCK_THREAD_CPUTIME_ID) < end) {
    }
}

void sleep_until(nanoseconds moment) {
    const timespec wake{.tv_sec = moment.count() / 1'000'000'000,
                        .tv_nsec = moment.count() % 1'000'000'000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr) == EINTR) {
    }
}

// The calendar of the tokens, open and locked for as long as this object lives.
class Calendar {
public:
    // A description of its own for every request: flock() tells descriptions apart, not threads.
    explicit Calendar(const char* path) : fd_(open(path, O_RDWR | O_CLOEXEC)) {
        while (fd_ >= 0 && flock(fd_, LOCK_EX) != 0) {
            if (errno != EINTR) {
                close(fd_);
                fd_ = -1;
            }
        }
    }

    ~Calendar() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }

    Calendar(const Calendar&) = delete;
    Calendar& operator=(const Calendar&) = delete;
    Calendar(Calendar&&) = delete;
    Calendar& operator=(Calendar&&) = delete;

    // Books the token that is free first; `*end` is when the caller must be done with it.
    // One write of eight bytes: a process killed here leaves the old entry or the new one.
    bool book(std::size_t tokens_count, nanoseconds cost, nanoseconds* end) const {
        std::array<std::int64_t, tokens_count_max> free_at{};  // a short or empty file: all free
        if (fd_ < 0 || pread(fd_, free_at.data(), tokens_count * sizeof(std::int64_t), 0) < 0) {
            return false;
        }
        std::int64_t* const token = std::min_element(free_at.data(), free_at.data() + tokens_count);
        *end = std::max(now(CLOCK_MONOTONIC), nanoseconds(*token)) + cost;
        *token = end->count();
        const off_t offset = static_cast<off_t>(sizeof *token) * (token - free_at.data());
        return pwrite(fd_, token, sizeof *token, offset) == static_cast<ssize_t>(sizeof *token);
    }

private:
    int fd_;
};

bool parse_number(const char* text, int max, int* number) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    *number = static_cast<int>(value);
    return end != text && *end == '\0' && value >= 1 && value <= max;
}

nanoseconds cost_of(const request_rec* r, const Settings& settings) {
    constexpr std::string_view name = "us=";
    int cost_us = 0;
    const bool asked = r->args != nullptr && std::string_view(r->args).starts_with(name) &&
                       parse_number(r->args + name.size(), cost_ms_max * 1000, &cost_us);
    return asked ? nanoseconds(std::chrono::microseconds(cost_us)) : settings.cost;
}

bool hold_a_token(const Settings& settings) {
    nanoseconds end{};
    bool booked = false;
    {
        Calendar calendar(settings.tokens_file);
        booked = calendar.book(settings.tokens_count, settings.cost, &end);
    }
    if (booked) {
        sleep_until(end);
    }
    return booked;
}

Settings& settings_of(server_rec* server) {
    return *static_cast<Settings*>(ap_get_module_config(server->module_config, &demo_page_module));
}

// Runs before the page's headers are written, so that the cost is part of the time to first byte.
int serve_page(request_rec* r) {
    if (r->handler == nullptr || std::string_view(r->handler) != "demo-page") {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    const Settings& settings = settings_of(r->server);
    if (settings.mode == Mode::burn) {
        burn(cost_of(r, settings));
    } else if (settings.tokens_file == nullptr || !hold_a_token(settings)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, errno, r, "demo-page: cannot take a token from %s",
                      settings.tokens_file == nullptr ? "(no DemoTokens)" : settings.tokens_file);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_content_type(r, "text/html;charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rprintf(r, "<!DOCTYPE html>\n<title>demo</title>\n<p>Served by <b>%s</b>.</p>\n",
               settings.server_name);
    return OK;
}

// Every virtual host has the settings of the whole server: the first call makes them.
void* create_settings(apr_pool_t* pool, server_rec*) {
    auto* settings = static_cast<Settings*>(apr_pcalloc(pool, sizeof(Settings)));
    settings->server_name = "a server without DemoName";
    settings->cost = milliseconds(10);
    return settings;
}

void* merge_settings(apr_pool_t*, void* whole_server, void*) {
    return whole_server;
}

const char* set_name(cmd_parms* cmd, void*, const char* name) {
    settings_of(cmd->server).server_name = name;
    return nullptr;
}

const char* set_mode(cmd_parms* cmd, void*, const char* mode) {
    if (std::string_view(mode) == "burn") {
        settings_of(cmd->server).mode = Mode::burn;
    } else if (std::string_view(mode) == "tokens") {
        settings_of(cmd->server).mode = Mode::tokens;
    } else {
        return "DemoMode must be burn or tokens";
    }
    return nullptr;
}

const char* set_cost(cmd_parms* cmd, void*, const char* cost) {
    int cost_ms = 0;
    if (!parse_number(cost, cost_ms_max, &cost_ms)) {
        return "DemoCost must be a number of milliseconds, 1 to 10000";
    }
    settings_of(cmd->server).cost = milliseconds(cost_ms);
    return nullptr;
}

const char* set_tokens(cmd_parms* cmd, void*, const char* count, const char* file) {
    int tokens_count = 0;
    if (!parse_number(count, tokens_count_max, &tokens_count)) {
        return "DemoTokens must be a number, 1 to 64, and the file that holds the calendar";
    }
    settings_of(cmd->server).tokens_count = static_cast<std::size_t>(tokens_count);
    settings_of(cmd->server).tokens_file = file;
    return nullptr;
}

void register_hooks(apr_pool_t*) {
    ap_hook_handler(serve_page, nullptr, nullptr, APR_HOOK_MIDDLE);
}

const command_rec directives[] = {
    AP_INIT_TAKE1("DemoName", set_name, nullptr, RSRC_CONF, "what the page calls this server"),
    AP_INIT_TAKE1("DemoMode", set_mode, nullptr, RSRC_CONF, "burn (CPU time) or tokens"),
    AP_INIT_TAKE1("DemoCost", set_cost, nullptr, RSRC_CONF, "milliseconds that a page costs"),
    AP_INIT_TAKE2("DemoTokens", set_tokens, nullptr, RSRC_CONF,
                  "how many pages at a time, and the file that holds the tokens' calendar"),
    {nullptr, {nullptr}, nullptr, 0, RAW_ARGS, nullptr}};

}  // namespace

extern "C" {
module AP_MODULE_DECLARE_DATA demo_page_module = {
    STANDARD20_MODULE_STUFF,
    nullptr,  // nothing per directory,
    nullptr,  // so nothing to merge there
    create_settings,
    merge_settings,
    directives,
    register_hooks,
    AP_MODULE_FLAG_NONE,
};
}
