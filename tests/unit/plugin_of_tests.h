// The plug-ins of tests/plugins, and a stage for them.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>

#include "decide/made_cluster.h"
#include "decide/plugin_code.h"

namespace backhand {

inline const std::string native_file = PLUGINS_OF_TESTS "/plugins_of_tests.so";
inline const std::string seed_file = PLUGINS_OF_TESTS "/seed_2001.so";
inline const std::string later_file = PLUGINS_OF_TESTS "/of_another_version.so";

inline UniqueFd opened(const std::string& path) {
    return UniqueFd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
}

inline PluginSource line(const std::string& file, const std::string& function,
                         const std::string& argument = "") {
    return {.file = file, .function = function, .argument = argument, .written_at = "conf:1"};
}

inline std::unique_ptr<const PluginCode> load(const PluginSource& source) {
    auto code = open_plugin(opened(source.file), source);
    return code ? std::move(*code) : nullptr;
}

inline std::string trouble_of(const PluginSource& source) {
    const auto code = open_plugin(opened(source.file), source);
    return code ? "" : code.error().detail;
}

// One decision after another about a made cluster.
struct PluginStage {
    explicit PluginStage(MadeCluster made) : cluster(std::move(made)) { cluster.fill(set); }

    DecisionContext context() {
        return {.request = request, .table = cluster, .random = random, .now = 10'000'000'000};
    }

    AnswerFaults decide(const PluginCode& code) { return code.decide(set, context(), scratch); }

    std::vector<std::uint32_t> slots() const {
        std::vector<std::uint32_t> result;
        for (std::size_t position = 0; position < set.size(); ++position) {
            result.push_back(set[position].slot_index);
        }
        return result;
    }

    MadeCluster cluster;
    RequestView request;
    CandidacySet set;
    Random random{1};
    PluginScratch scratch;
};

// Servers with these numbers of requests in progress.
inline MadeCluster cluster_serving(const std::vector<std::uint32_t>& serving) {
    std::vector<MadeCluster::Server> servers;
    for (const std::uint32_t number : serving) {
        const auto slot_index = static_cast<std::uint32_t>(servers.size());
        MadeCluster::Server server{.view = {}, .name = "made" + std::to_string(slot_index)};
        server.view.slot_index = slot_index;
        server.view.serving = number;
        server.view.workers_idle = 5;
        servers.push_back(std::move(server));
    }
    return {"serving", std::move(servers)};
}

inline std::string in_environment(const char* name) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the tests have one thread here.
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

}  // namespace backhand
