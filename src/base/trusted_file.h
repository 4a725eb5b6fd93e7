// Files whose content is believed because of who can write them: keys and plug-ins.
//
// Such a file is only as safe as the way to it: whoever can write a directory above it can put
// another file in its place.  So the way is walked from "/", one name at a time, through
// descriptors, symbolic links as the system would follow them; and every directory, link and file
// on it must belong to root or to `owner`, and be writable by nobody else.
//
// A sticky directory (/tmp) is allowed on the way to a key although others write in it: there they
// can add entries but not replace or rename ours, and the entry that was taken is judged like the
// rest.  For code it is not: whoever cleans up such a directory makes room for another's file.
//
// Errors name the entry that is wrong and what would be right.
#pragma once

#include <string>

#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"

namespace backhand {

// Whether only root and `owner` can change what is found at the absolute path `path`.  The file is
// not opened.
Status check_trusted_file(const std::string& path, uid_t owner);

// Opens a regular file for reading that, besides, nobody but root and its owner can read.  The last
// name must not be a symbolic link.  Never waits: a FIFO is refused, not listened to.
Result<UniqueFd> open_secret_file(const std::string& path, uid_t owner);

// Opens a regular file of code for reading.  Here only root and `owner` may write any directory on
// the way, sticky or not; the last name may be a symbolic link.  Never waits.
Result<UniqueFd> open_code_file(const std::string& path, uid_t owner);

}  // namespace backhand
