// Running a plug-in where no request depends on it: against made clusters and requests, each as a
// server may meet it one day.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "decide/plugin_code.h"

namespace backhand {

struct RehearsalSettings {
    // What the original's functions get as their request_rec.
    void* native_request = nullptr;
    // Called before each step with what it is: the last one told is where the plug-in crashed.
    std::function<void(const std::string&)> on_step;
};

// Returns what was wrong with its answers, each with where.  Ends with the process if the plug-in
// crashes: run it in one of its own.
std::vector<std::string> rehearse(const PluginCode& code, const RehearsalSettings& settings);

// The same from several threads at a time, which is what threaded httpd does.
std::vector<std::string> rehearse_with_threads(const PluginCode& code,
                                               const RehearsalSettings& settings);

// What one decision among `servers_count` takes, the median of many.
Nanoseconds time_decision(const PluginCode& code, std::uint32_t servers_count,
                          void* native_request);

}  // namespace backhand
