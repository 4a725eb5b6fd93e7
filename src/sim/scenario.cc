#include "sim/scenario.h"

#include <algorithm>
#include <string_view>

#include "base/text.h"

namespace backhand::sim {

bool Contestant::announces() const {
    return reference.kind == Reference::Kind::none && chain && !chain->is_off();
}

std::uint32_t Scenario::servers_count() const {
    std::uint32_t count = 0;
    for (const ServerGroup& group : servers) {
        count += group.count;
    }
    return count;
}

double Scenario::capacity() const {
    double result = 0;
    for (const ServerGroup& group : servers) {
        result += group.count * group.cpus * group.speed;
    }
    return result;
}

double Scenario::mean_work() const {
    double shares = 0;
    double work = 0;
    for (const RequestClass& one : classes) {
        shares += one.share;
        work += one.share * one.work.mean();
    }
    return work / shares;
}

double Scenario::rate() const {
    return arrivals.load * capacity() / mean_work();
}

double Scenario::interval_ns() const {
    return std::max(announcing.interval_ns, announcing.interval_per_server_ns * servers_count());
}

namespace {

std::string_view trimmed(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

struct Word {
    std::string_view first;
    std::string_view rest;
};

Word split(std::string_view line) {
    const auto end = line.find_first_of(" \t");
    if (end == std::string_view::npos) {
        return {line, {}};
    }
    return {line.substr(0, end), trimmed(line.substr(end))};
}

}  // namespace

Result<std::shared_ptr<const Chain>> chain_of(const std::vector<std::string>& lines) {
    auto chain = std::make_shared<Chain>();
    for (const std::string& line : lines) {
        std::string_view text = trimmed(line);
        if (text.empty() || text.starts_with('#')) {
            continue;
        }
        Word word = split(text);
        if (equal_ignoring_case(word.first, "Backhand")) {
            word = split(word.rest);
        }
        if (equal_ignoring_case(word.first, "off") && word.rest.empty()) {
            chain->switch_off();
        } else if (const Status appended = chain->append(word.first, word.rest); !appended) {
            return appended.error();
        }
    }
    return std::shared_ptr<const Chain>(std::move(chain));
}

}  // namespace backhand::sim
