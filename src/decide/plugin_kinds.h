// The two kinds of plug-ins, made from what a loaded object has.
#pragma once

#include <memory>
#include <string>

#include "decide/plugin_code.h"

namespace backhand {

// Today's: `plugin` is the descriptor whose name the line gives.
Result<std::unique_ptr<const PluginCode>> make_native_plugin(const backhand_plugin& plugin,
                                                             const PluginSource& source);

// The original's, with httpd's request_rec, which this part of the project passes on unseen.
using SeedFunction = int (*)(void* request_rec, int* servers, int* n, char* argument);

// The original's `serverstat`, of which mod_backhand.h has the same (src/httpd checks that).
struct SeedStatistics;

// `statistics` is where the object has its global `serverstats`; nullptr if it has none.
std::unique_ptr<const PluginCode> make_seed_plugin(SeedFunction function,
                                                   SeedStatistics** statistics,
                                                   const PluginSource& source);

}  // namespace backhand
