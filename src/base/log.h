// Log: how the core says something to the operator without knowing httpd.
//
// The owner (module, command line, test) supplies the function; it must be callable from any
// thread of the process that made it.
#pragma once

#include <functional>
#include <string_view>

namespace backhand {

enum class LogLevel { error, warning, notice, info, debug };

using Log = std::function<void(LogLevel, std::string_view)>;

}  // namespace backhand
