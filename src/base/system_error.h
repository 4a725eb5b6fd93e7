// What the operating system said no to, as an Error.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>

#include "base/result.h"

namespace backhand {

// Of the call that has just failed; errno says why.
inline Error last_system_error(const std::string& what) {
    return {Error::Kind::system, what + ": " + std::generic_category().message(errno)};
}

}  // namespace backhand
