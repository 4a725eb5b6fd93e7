#include "cli/simulate.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>
#include <thread>

#include <unistd.h>

#include "cli/arguments.h"
#include "sim/campaign.h"
#include "sim/html.h"
#include "sim/output.h"
#include "sim/scenario_file.h"

namespace backhand {

namespace {

using Clock = std::chrono::steady_clock;

// "[#####     ] 52 %, 0:13 to go", drawn over itself; on a terminal only.
class ProgressBar {
public:
    explicit ProgressBar(bool wanted) : shown_(wanted && ::isatty(STDERR_FILENO) == 1) {}

    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    ~ProgressBar() {
        if (drawn_) {
            std::fputs("\r\033[K", stderr);
        }
    }

    void show(double share) {
        constexpr int width = 40;
        constexpr auto redraw_every = std::chrono::milliseconds{100};
        const auto now = Clock::now();
        if (!shown_ || (drawn_ && now - drawn_at_ < redraw_every)) {
            return;
        }
        drawn_ = true;
        drawn_at_ = now;
        const int filled = static_cast<int>(share * width);
        const std::string bar = std::string(static_cast<std::size_t>(filled), '#') +
                                std::string(static_cast<std::size_t>(width - filled), ' ');
        const double passed = std::chrono::duration<double>{now - began_at_}.count();
        const int left = share > 0 ? static_cast<int>(passed * (1 - share) / share) : 0;
        std::fprintf(stderr, "\r[%s] %3.0f %%, %d:%02d to go ", bar.c_str(), share * 100, left / 60,
                     left % 60);
        std::fflush(stderr);
    }

private:
    bool shown_;
    bool drawn_ = false;
    Clock::time_point began_at_ = Clock::now();
    Clock::time_point drawn_at_;
};

Status write(const std::string& path, const std::string& text) {
    std::ofstream file{path};
    file << text << std::flush;
    if (!file) {
        return Error{Error::Kind::system,
                     path + ": cannot be written: " + std::strerror(errno)};  // NOLINT
    }
    return Done{};
}

struct Format {
    std::string_view name;
    std::string (*write)(const sim::Results&);
};

constexpr std::array<Format, 3> formats = {
    {{"table", sim::as_table}, {"csv", sim::as_csv}, {"json", sim::as_json}}};

}  // namespace

Status run_simulate(const SimulateOptions& options) {
    const auto* const format = std::find_if(formats.begin(), formats.end(), [&](const Format& one) {
        return one.name == options.format;
    });
    if (format == formats.end()) {
        return bad_value("--format", options.format, "table, csv or json");
    }
    auto scenario = sim::read_scenario_file(options.file);
    if (!scenario) {
        return scenario.error();
    }
    sim::Run& run = scenario->run;
    run.seed = options.seed.value_or(run.seed);
    run.replications = std::max(1U, options.replications.value_or(run.replications));
    run.requests = std::max<std::uint64_t>(1, options.requests.value_or(run.requests));
    if (options.trial) {
        std::printf("%s: %u servers, %zu contestants, %u replications of %llu requests\n",
                    scenario->name.c_str(), scenario->servers_count(), scenario->contestants.size(),
                    run.replications, static_cast<unsigned long long>(run.requests));
        return Done{};
    }

    const unsigned jobs =
        options.jobs != 0 ? options.jobs : std::max(1U, std::thread::hardware_concurrency());
    sim::Results results;
    {
        ProgressBar bar{!options.quiet};
        results = sim::run_campaign(
            *scenario, {.jobs = jobs, .progress = [&bar](double share) { bar.show(share); }});
    }
    if (!options.html.empty()) {
        if (const Status written = write(options.html, sim::as_html(results)); !written) {
            return written;
        }
    }
    const std::string text = format->write(results);
    if (!options.output.empty()) {
        return write(options.output, text);
    }
    std::fputs(text.c_str(), stdout);
    return Done{};
}

}  // namespace backhand
