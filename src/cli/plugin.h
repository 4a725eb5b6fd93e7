// `backhand plugin check`: loads a plug-in outside httpd and runs it against made clusters.
#pragma once

#include <string>

namespace backhand {

// Prints what is wrong with it, and how long it takes.  0: nothing is wrong; 1: something is.
// The plug-in runs in a process of its own: it may crash.
int check_plugin(const std::string& file, const std::string& function, const std::string& argument);

}  // namespace backhand
