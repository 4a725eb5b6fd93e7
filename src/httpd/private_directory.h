// Directories that httpd's user must be able to write and nobody else: for the moderator's socket,
// and for what must outlive a boot.
#pragma once

#include <string>

#include "base/result.h"

namespace backhand::httpd {

// Makes the directory if it is not there.  Called by httpd's parent, which never opens anything in
// it; one that is there already is taken as it is or not at all.
Status make_private_directory(const std::string& path);

// Whether it is there, or there is a directory above it to make it in.
bool can_be_made(const std::string& path);

}  // namespace backhand::httpd
