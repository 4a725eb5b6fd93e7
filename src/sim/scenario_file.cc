#include "sim/scenario_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <sstream>
#include <utility>
#include <vector>

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "base/text.h"

namespace backhand::sim {

namespace {

constexpr double nothing_at_all = 0;
constexpr double most = 1e18;
constexpr std::uint32_t servers_max = 100'000;

// The first error wins; after it everything reads as its default.
class Complaints {
public:
    explicit Complaints(std::string file) : file_(std::move(file)) {}

    void at(const toml::source_region& where, const std::string& what) {
        at_line(where.begin.line, what);
    }

    void at_line(std::uint32_t line, const std::string& what) {
        if (!first_) {
            first_ =
                Error{Error::Kind::malformed, file_ + ":" + std::to_string(line) + ": " + what};
        }
    }

    const std::optional<Error>& first() const { return first_; }

private:
    std::string file_;
    std::optional<Error> first_;
};

std::string shown(const toml::node& node) {
    std::ostringstream text;
    node.visit([&text](const auto& value) {
        using Value = std::decay_t<decltype(value)>;
        if constexpr (toml::is_string<Value>) {
            text << '"' << value.get().substr(0, 60) << '"';
        } else if constexpr (toml::is_number<Value>) {
            text << value.get();
        } else if constexpr (toml::is_boolean<Value>) {
            text << (value.get() ? "true" : "false");
        } else if constexpr (toml::is_table<Value>) {
            text << "a table";
        } else if constexpr (toml::is_array<Value>) {
            text << "a list";
        } else {
            text << "a date or a time";
        }
    });
    return text.str();
}

struct Range {
    double least = nothing_at_all;
    double most = sim::most;
};

std::string number_text(double number) {
    std::ostringstream text;
    text << number;
    return text.str();
}

// One table of the file.  Whoever reads a key names it; done() complains about the others.
class Section {
public:
    Section(const toml::table& table, std::string name, Complaints& complaints)
        : table_(table),
          name_(std::move(name)),
          complaints_(complaints) {}

    double number(const char* key, double otherwise, Range range = {}) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        const auto value = node->value<double>();
        if (!node->is_number() || !value || !(*value >= range.least && *value <= range.most)) {
            wrong(*node, key,
                  "a number" + (range.most < most ? " from " + number_text(range.least) + " to " +
                                                        number_text(range.most)
                                                  : " of at least " + number_text(range.least)));
            return otherwise;
        }
        return *value;
    }

    std::uint64_t count(const char* key, std::uint64_t otherwise, std::uint64_t least,
                        std::uint64_t greatest) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        const auto value = node->value<std::int64_t>();
        if (!node->is_integer() || !value || *value < static_cast<std::int64_t>(least) ||
            static_cast<std::uint64_t>(*value) > greatest) {
            wrong(
                *node, key,
                "a whole number from " + std::to_string(least) + " to " + std::to_string(greatest));
            return otherwise;
        }
        return static_cast<std::uint64_t>(*value);
    }

    bool flag(const char* key, bool otherwise) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_boolean()) {
            wrong(*node, key, "true or false");
            return otherwise;
        }
        return *node->value<bool>();
    }

    std::string text(const char* key, std::string otherwise) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_string()) {
            wrong(*node, key, "a text in quotes");
            return otherwise;
        }
        return *node->value<std::string>();
    }

    double duration(const char* key, double otherwise_ns) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return otherwise_ns;
        }
        const auto text = node->value<std::string>();
        const auto parsed =
            node->is_string() ? parse_duration(*text) : Error{Error::Kind::malformed, ""};
        if (!parsed) {
            wrong(*node, key, "a duration with its unit, for example \"10 ms\"");
            return otherwise_ns;
        }
        return *parsed;
    }

    MonotonicTime time(const char* key, MonotonicTime otherwise) {
        return table_.contains(key)
                   ? static_cast<MonotonicTime>(duration(key, static_cast<double>(otherwise)))
                   : (find(key), otherwise);
    }

    template <class Value>
    Value one_of(const char* key, Value otherwise,
                 std::initializer_list<std::pair<const char*, Value>> choices) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        std::string expected;
        const auto text = node->value<std::string>();
        for (const auto& [name, value] : choices) {
            if (node->is_string() && *text == name) {
                return value;
            }
            expected += (expected.empty() ? "\"" : ", \"") + std::string(name) + "\"";
        }
        wrong(*node, key, "one of " + expected);
        return otherwise;
    }

    std::vector<double> numbers(const char* key, Range range) {
        std::vector<double> result;
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return result;
        }
        const auto take = [&](const toml::node& item) {
            const auto value = item.value<double>();
            if (!item.is_number() || !value || !(*value >= range.least && *value <= range.most)) {
                wrong(
                    item, key,
                    "numbers from " + number_text(range.least) + " to " + number_text(range.most));
                return;
            }
            result.push_back(*value);
        };
        if (const toml::array* const list = node->as_array()) {
            for (const toml::node& item : *list) {
                take(item);
            }
            if (list->empty()) {
                wrong(*node, key, "at least one number");
            }
        } else {
            take(*node);
        }
        return result;
    }

    // Numbers of servers, which begin at 0.
    std::vector<std::uint32_t> servers(const char* key, std::uint32_t count) {
        std::vector<std::uint32_t> result;
        for (const double number : numbers(key, {0, double{1} * (count - 1)})) {
            result.push_back(static_cast<std::uint32_t>(number));
        }
        return result;
    }

    // { mean = "10 ms", distribution = "exponential" }, or "10 ms", which is fixed.
    Distribution distribution(const char* key, const Distribution& otherwise) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (node->is_string()) {
            return Distribution::fixed(duration(key, 0));
        }
        const toml::table* const table = node->as_table();
        if (table == nullptr) {
            wrong(*node, key,
                  "a duration, or { mean = \"10 ms\", distribution = \"exponential\" }");
            return otherwise;
        }
        Section section{*table, name_ + "." + key, complaints_};
        const Distribution result = section.read_distribution();
        section.done();
        return result;
    }

    // Calls read(Section&) for each table of the list.
    template <class Read>
    void each(const char* key, Read read) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return;
        }
        const toml::array* const list = node->as_array();
        if (list == nullptr || !list->is_array_of_tables()) {
            wrong(*node, key, std::string("tables, each begun by [[") + key + "]]");
            return;
        }
        for (const toml::node& item : *list) {
            Section section{*item.as_table(), key, complaints_};
            read(section);
            section.done();
        }
    }

    template <class Read>
    void with(const char* key, Read read) {
        const toml::node* const node = find(key);
        if (node == nullptr) {
            return;
        }
        const toml::table* const table = node->as_table();
        if (table == nullptr) {
            wrong(*node, key, std::string("a table, begun by [") + key + "]");
            return;
        }
        Section section{*table, key, complaints_};
        read(section);
        section.done();
    }

    // The lines of a chain, each with the number of its line in the file.
    struct Line {
        std::string text;
        std::uint32_t number;
    };

    std::vector<Line> lines(const char* key) {
        std::vector<Line> result;
        const toml::node* const node = find(key);
        if (node == nullptr) {
            complaints_.at(table_.source(), "[[" + name_ + "]]: expected " + key +
                                                ", the chain's lines as in httpd's configuration");
            return result;
        }
        const auto take = [&](const toml::node& item) {
            const auto text = item.value<std::string>();
            if (!item.is_string()) {
                wrong(item, key, "lines as in httpd's configuration, for example \"byAge 2\"");
                return;
            }
            // The line break after """ is none of the text's.
            const auto breaks =
                static_cast<std::uint32_t>(std::count(text->begin(), text->end(), '\n'));
            const toml::source_region& source = item.source();
            const std::uint32_t spanned = source.end.line - source.begin.line;
            std::uint32_t number = source.begin.line + (spanned > breaks ? 1 : 0);
            std::istringstream stream{*text};
            for (std::string line; std::getline(stream, line); ++number) {
                result.push_back({line, number});
            }
            if (text->empty()) {
                result.push_back({"", number});
            }
        };
        if (const toml::array* const list = node->as_array()) {
            for (const toml::node& item : *list) {
                take(item);
            }
        } else {
            take(*node);
        }
        return result;
    }

    void wrong(const toml::node& node, const char* key, const std::string& expected) {
        complaints_.at(node.source(),
                       std::string(key) + " = " + shown(node) + ": expected " + expected);
    }

    void wrong(const std::string& what) { complaints_.at(table_.source(), what); }

    bool has(const char* key) const { return table_.contains(key); }

    void done() {
        for (const auto& [key, node] : table_) {
            if (std::find(known_.begin(), known_.end(), key.str()) == known_.end()) {
                std::string expected;
                for (const std::string& known : known_) {
                    expected += (expected.empty() ? "" : ", ") + known;
                }
                complaints_.at(key.source(), "\"" + std::string(key.str()) + "\" means nothing " +
                                                 (name_.empty() ? "here" : "in [" + name_ + "]") +
                                                 ": expected one of " + expected);
            }
        }
    }

private:
    const toml::node* find(const char* key) {
        known_.emplace_back(key);
        return table_.get(key);
    }

    Distribution read_distribution() {
        enum class Kind { fixed, exponential, lognormal, pareto, normal, hyperexponential };
        if (!has("mean")) {
            wrong("[" + name_ + "]: expected mean, for example mean = \"10 ms\"");
        }
        const double mean = duration("mean", 1e6);
        const Kind kind = one_of("distribution", Kind::exponential,
                                 {{"fixed", Kind::fixed},
                                  {"exponential", Kind::exponential},
                                  {"lognormal", Kind::lognormal},
                                  {"pareto", Kind::pareto},
                                  {"normal", Kind::normal},
                                  {"hyperexponential", Kind::hyperexponential}});
        switch (kind) {
            case Kind::fixed:
                return Distribution::fixed(mean);
            case Kind::exponential:
                return Distribution::exponential(mean);
            case Kind::lognormal:
                return Distribution::lognormal(mean, number("sigma", 1, {0.01, 5}));
            case Kind::pareto: {
                const double alpha = number("alpha", 1.5, {0.1, 10});
                return Distribution::bounded_pareto(
                    mean, alpha, number("longest_by_shortest", 1000, {1.1, 1e9}));
            }
            case Kind::normal:
                return Distribution::normal(mean);
            case Kind::hyperexponential:
                return Distribution::hyperexponential(mean, number("variation", 4, {1, 1e4}));
        }
        return otherwise();
    }

    static Distribution otherwise() { return {}; }

    const toml::table& table_;
    std::string name_;
    Complaints& complaints_;
    std::vector<std::string> known_;
};

ServerGroup read_servers(Section& section) {
    ServerGroup group;
    group.count = static_cast<std::uint32_t>(section.count("count", 1, 1, servers_max));
    group.cpus = section.number("cpus", group.cpus, {0.01, 10'000});
    group.speed = section.number("speed", group.speed, {0.001, 1000});
    group.quota_period_ns = section.duration("quota_period", group.quota_period_ns);
    group.workers =
        static_cast<std::uint32_t>(section.count("workers", group.workers, 1, 1'000'000'000));
    using enum ServerGroup::Discipline;
    group.discipline =
        section.one_of("discipline", sharing, {{"sharing", sharing}, {"fifo", fifo}});
    return group;
}

RequestClass read_request(Section& section) {
    RequestClass one;
    one.name = section.text("name", one.name);
    one.share = section.number("share", one.share, {1e-9, 1e9});
    one.work = section.distribution("work", one.work);
    one.hold = section.distribution("hold", one.hold);
    one.path = section.text("path", "/" + one.name);
    one.repeatable = section.flag("repeatable", one.repeatable);
    if (one.work.mean() <= 0) {
        section.wrong("[[request]]: expected work of more than nothing");
    }
    return one;
}

// Lines of "seconds [server [milliseconds of work]]"; "-" leaves one out.
std::vector<TracedArrival> read_trace(const std::string& path, std::uint32_t servers_count,
                                      Section& section) {
    std::vector<TracedArrival> result;
    std::ifstream file{path};
    if (!file) {
        section.wrong("trace = \"" + path + "\": expected a file that can be read");
        return result;
    }
    std::uint32_t number = 0;
    for (std::string line; std::getline(file, line);) {
        ++number;
        if (line.empty() || line.front() == '#') {
            continue;
        }
        std::istringstream words{line};
        std::array<std::string, 3> word;
        words >> word[0] >> word[1] >> word[2];
        const auto at = parse_fraction(word[0]);
        const auto server = parse_number<std::uint32_t>(word[1]);
        const auto work = parse_fraction(word[2]);
        const bool has_server = !word[1].empty() && word[1] != "-";
        const bool has_work = !word[2].empty() && word[2] != "-";
        if (!at || !(*at >= 0) || *at > 1e9 ||
            (has_server && (!server || *server >= servers_count)) ||
            (has_work && (!work || *work < 0 || *work > 1e9))) {
            section.wrong(path + ":" + std::to_string(number) + ": \"" + line.substr(0, 60) +
                          "\": expected seconds, then perhaps a server's number, then perhaps "
                          "milliseconds of work");
            return {};
        }
        const auto time = static_cast<MonotonicTime>(*at * 1e9);
        if (!result.empty() && time < result.back().at) {
            section.wrong(path + ":" + std::to_string(number) +
                          ": expected times that do not fall");
            return {};
        }
        result.push_back({time, has_server ? server : std::nullopt,
                          has_work ? std::optional{*work * 1e6} : std::nullopt});
    }
    if (result.empty()) {
        section.wrong("trace = \"" + path + "\": expected at least one line");
    }
    return result;
}

void read_load(Section& section, const std::string& path, Scenario& scenario) {
    Arrivals& arrivals = scenario.arrivals;
    scenario.loads = section.numbers("load", {0.001, 100});
    if (!scenario.loads.empty()) {
        arrivals.load = scenario.loads.front();
    }
    if (scenario.loads.size() == 1) {
        scenario.loads.clear();
    }
    using Kind = Arrivals::Kind;
    arrivals.kind = section.one_of("arrivals", Kind::poisson,
                                   {{"poisson", Kind::poisson},
                                    {"on-off", Kind::on_off},
                                    {"trace", Kind::trace},
                                    {"closed", Kind::closed}});
    arrivals.shares = section.numbers("ingress", {0, 1e9});
    double shares = arrivals.shares.empty() ? 1 : 0;
    for (const double share : arrivals.shares) {
        shares += share;
    }
    if (arrivals.shares.size() > scenario.servers_count() || shares <= 0) {
        section.wrong(
            "[load]: expected ingress to be a list of shares, of which one at least is "
            "above 0, and not more of them than servers");
    }
    switch (arrivals.kind) {
        case Kind::poisson:
            break;
        case Kind::on_off:
            arrivals.on_ns = section.duration("on", arrivals.on_ns);
            arrivals.off_ns = section.duration("off", arrivals.off_ns);
            arrivals.peak = section.number("peak", arrivals.peak, {1, 1000});
            if (arrivals.peak * arrivals.on_ns > arrivals.on_ns + arrivals.off_ns) {
                section.wrong(
                    "[load]: expected a peak of at most (on + off) / on, where nothing "
                    "is left for the time that is off");
            }
            break;
        case Kind::trace: {
            const std::string name = section.text("trace", "");
            const auto slash = path.rfind('/');
            const bool absolute = name.starts_with('/');
            arrivals.trace = read_trace(
                absolute || slash == std::string::npos ? name : path.substr(0, slash + 1) + name,
                scenario.servers_count(), section);
            break;
        }
        case Kind::closed:
            arrivals.users = static_cast<std::uint32_t>(section.count("users", 0, 0, 10'000'000));
            arrivals.think = section.distribution("think", arrivals.think);
            if (arrivals.users == 0) {
                section.wrong("[load]: expected users, how many there are");
            }
            break;
    }
    section.each("step", [&](Section& step) {
        RateChange change;
        change.at = step.time("at", 0);
        change.factor = step.number("factor", 1, {0, 1000});
        if (!arrivals.steps.empty() && change.at < arrivals.steps.back().at) {
            step.wrong("[[load.step]]: expected steps in the order of time");
        }
        arrivals.steps.push_back(change);
    });
    section.each("ingress_change", [&](Section& one) {
        arrivals.ingress_changes.push_back({one.time("at", 0), one.numbers("ingress", {0, 1e9})});
    });
}

Antagonist read_antagonist(Section& section, std::uint32_t servers_count) {
    Antagonist one;
    using Kind = Antagonist::Kind;
    one.kind = section.one_of(
        "kind", Kind::on_off,
        {{"on-off", Kind::on_off}, {"schedule", Kind::schedule}, {"hot set", Kind::hot_set}});
    one.servers = section.servers("servers", servers_count);
    one.depth = section.number("depth", one.depth, {0, 0.999});
    if (one.kind == Kind::schedule) {
        one.from = section.time("from", 0);
        one.to = section.time("to", 0);
        if (one.to <= one.from) {
            section.wrong("[[antagonist]]: expected from and to, the later after the earlier");
        }
    } else {
        one.on = section.distribution("on", one.on);
    }
    if (one.kind == Kind::on_off) {
        one.off = section.distribution("off", one.off);
    }
    if (one.kind == Kind::hot_set) {
        one.hot = static_cast<std::uint32_t>(section.count("hot", 1, 1, servers_count));
    }
    return one;
}

Failure read_failure(Section& section, std::uint32_t servers_count) {
    Failure one;
    using Kind = Failure::Kind;
    one.kind = section.one_of("kind", Kind::crash,
                              {{"crash", Kind::crash},
                               {"hang", Kind::hang},
                               {"partition", Kind::partition},
                               {"join", Kind::join}});
    one.servers = section.servers("servers", servers_count);
    one.from = section.time("from", 0);
    if (one.kind != Kind::join) {
        one.to = section.time("to", Failure::never_ends);
    }
    if (one.servers.empty() || one.to <= one.from) {
        section.wrong("[[failure]]: expected servers, and to after from");
    }
    return one;
}

Contestant read_chain(Section& section, Complaints& complaints) {
    Contestant one;
    one.name = section.text("name", "");
    auto chain = std::make_shared<Chain>();
    for (const Section::Line& line : section.lines("lines")) {
        const auto read = chain_of({line.text});
        if (!read) {
            complaints.at_line(line.number, read.error().detail);
        }
    }
    std::vector<std::string> lines;
    for (const Section::Line& line : section.lines("lines")) {
        lines.push_back(line.text);
    }
    if (const auto read = chain_of(lines)) {
        one.chain = *read;
        if (one.name.empty()) {
            one.name = one.chain->is_off() ? "served where it arrives" : one.chain->text();
        }
    }
    return one;
}

Contestant read_reference(Section& section) {
    Contestant one;
    using Kind = Reference::Kind;
    one.reference.kind = section.one_of("policy", Kind::live_jsq,
                                        {{"live jsq", Kind::live_jsq},
                                         {"live choice", Kind::live_choice},
                                         {"idle queue", Kind::idle_queue},
                                         {"board", Kind::board},
                                         {"weighted round robin", Kind::weighted_round_robin},
                                         {"c3", Kind::c3},
                                         {"prequal", Kind::prequal},
                                         {"least sent", Kind::least_sent}});
    one.name = section.text("name", section.text("policy", "live jsq"));
    one.reference.choices = static_cast<std::uint32_t>(section.count("choices", 2, 0, servers_max));
    one.reference.margin = section.number("margin", one.reference.margin, {0, 1e6});
    one.reference.period_ns = section.duration("period", 0);
    one.reference.self_first = section.flag("self_first", false);
    one.reference.weighs_cost = section.flag("weighs_cost", false);
    if (one.reference.kind == Kind::board && one.reference.period_ns <= 0) {
        section.wrong("[[reference]]: a board: expected period, how often it is refreshed");
    }
    return one;
}

void read_run(Section& section, Run& run) {
    run.requests = section.count("requests", run.requests, 1, 10'000'000'000);
    run.warm_up = section.number("warm_up", run.warm_up, {0, 10});
    run.replications =
        static_cast<std::uint32_t>(section.count("replications", run.replications, 1, 10'000));
    run.seed = section.count("seed", run.seed, 0, std::numeric_limits<std::int64_t>::max());
    run.series_bins = static_cast<std::uint32_t>(section.count("series", 0, 0, 10'000));
}

void read_root(Section& root, const std::string& path, Scenario& scenario, Complaints& complaints) {
    scenario.name = root.text("name", path);
    scenario.description = root.text("description", "");
    root.each("servers",
              [&](Section& section) { scenario.servers.push_back(read_servers(section)); });
    if (scenario.servers.empty()) {
        complaints.at_line(1, "expected [[servers]], at least one group of them");
        scenario.servers.emplace_back();
    }
    const std::uint32_t count = scenario.servers_count();
    if (count > servers_max) {
        complaints.at_line(1, "[[servers]]: expected 100000 at most, all together");
    }
    if (root.has("request")) {
        scenario.classes.clear();
    }
    root.each("request",
              [&](Section& section) { scenario.classes.push_back(read_request(section)); });
    if (scenario.classes.empty() || scenario.classes.size() > 255) {
        complaints.at_line(1, "expected from 1 to 255 [[request]]");
        scenario.classes.emplace_back();
    }
    root.with("load", [&](Section& section) { read_load(section, path, scenario); });
    root.with("network", [&](Section& section) {
        Network& network = scenario.network;
        network.delay_ns = section.duration("delay", network.delay_ns);
        network.jitter_ns = section.duration("jitter", network.jitter_ns);
        network.loss = section.number("loss", network.loss, {0, 1});
    });
    root.with("announcing", [&](Section& section) {
        Announcing& announcing = scenario.announcing;
        announcing.interval_ns = section.duration("interval", announcing.interval_ns);
        announcing.interval_per_server_ns =
            section.duration("per_server", announcing.interval_per_server_ns);
        announcing.jitter = section.number("jitter", announcing.jitter, {0, 0.9});
        announcing.early = section.flag("early", announcing.early);
        announcing.piggyback = section.flag("piggyback", announcing.piggyback);
        announcing.look_ns = section.duration("look", announcing.look_ns);
        if (announcing.interval_ns < 1e3) {
            section.wrong("[announcing]: expected an interval of at least 1 us");
        }
    });
    root.with("forwarding", [&](Section& section) {
        ForwardingCost& cost = scenario.forwarding;
        cost.forwarder_ns = section.duration("forwarder", cost.forwarder_ns);
        cost.peer_ns = section.duration("peer", cost.peer_ns);
        cost.connect_timeout_ns = section.duration("connect_timeout", cost.connect_timeout_ns);
        cost.response_timeout_ns = section.duration("response_timeout", cost.response_timeout_ns);
    });
    root.with("asking", [&](Section& section) {
        AskingCost& cost = scenario.asking;
        cost.asker_ns = section.duration("asker", cost.asker_ns);
        cost.asker_per_server_ns = section.duration("per_server", cost.asker_per_server_ns);
        cost.asked_ns = section.duration("asked", cost.asked_ns);
    });
    root.each("antagonist", [&](Section& section) {
        scenario.antagonists.push_back(read_antagonist(section, count));
    });
    root.each("failure",
              [&](Section& section) { scenario.failures.push_back(read_failure(section, count)); });
    root.each("chain", [&](Section& section) {
        scenario.contestants.push_back(read_chain(section, complaints));
    });
    root.each("reference",
              [&](Section& section) { scenario.contestants.push_back(read_reference(section)); });
    if (scenario.contestants.empty()) {
        complaints.at_line(1, "expected [[chain]] or [[reference]], at least one to look at");
    }
    root.with("run", [&](Section& section) { read_run(section, scenario.run); });
    if (scenario.arrivals.kind == Arrivals::Kind::trace) {
        scenario.run.requests = std::max<std::uint64_t>(1, scenario.arrivals.trace.size());
        scenario.run.warm_up = 0;
    }
}

}  // namespace

Result<double> parse_duration(std::string_view text) {
    struct Unit {
        std::string_view name;
        double ns;
    };

    constexpr std::array<Unit, 7> units = {{{"ns", 1},
                                            {"us", 1e3},
                                            {"ms", 1e6},
                                            {"s", 1e9},
                                            {"min", 60e9},
                                            {"h", 3600e9},
                                            {"d", 86400e9}}};
    const auto end = text.find_first_not_of("0123456789.");
    if (end != std::string_view::npos) {
        const auto number = parse_fraction(text.substr(0, end));
        const auto begin = text.find_first_not_of(' ', end);
        const std::string_view name =
            begin == std::string_view::npos ? std::string_view{} : text.substr(begin);
        for (const Unit& unit : units) {
            if (number && name == unit.name && *number * unit.ns < most) {
                return *number * unit.ns;
            }
        }
    }
    return Error{Error::Kind::malformed,
                 "\"" + std::string(text) + "\": expected a duration, for example 10 ms"};
}

Result<Scenario> read_scenario(std::string_view text, const std::string& path) {
    Complaints complaints{path};
    const toml::parse_result parsed = toml::parse(text, std::string_view{path});
    if (!parsed) {
        complaints.at(parsed.error().source(), std::string(parsed.error().description()));
        return *complaints.first();
    }
    Scenario scenario;
    Section root{parsed.table(), "", complaints};
    read_root(root, path, scenario, complaints);
    root.done();
    if (complaints.first()) {
        return *complaints.first();
    }
    return scenario;
}

Result<Scenario> read_scenario_file(const std::string& path) {
    std::ifstream file{path};
    std::stringstream text;
    text << file.rdbuf();
    if (!file || text.bad()) {
        return Error{Error::Kind::malformed,
                     path + ": expected a scenario, a file that can be read"};
    }
    return read_scenario(text.str(), path);
}

}  // namespace backhand::sim
