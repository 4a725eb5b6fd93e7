// The boot id: a number that only rises, so that news of an earlier life of a server are
// recognised.
//
// Kept in the state directory, because a clock may be set back between two starts.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace backhand {

struct BootId {
    std::uint64_t value = 0;
    // What went wrong with the file, if something did; the id is then only as good as the clock.
    std::string trouble;
};

// Makes the next boot id: above the one in the file, and above the milliseconds since 1970.
// Called once per start of httpd, by the moderator.
BootId next_boot_id(const std::string& state_directory);

}  // namespace backhand
