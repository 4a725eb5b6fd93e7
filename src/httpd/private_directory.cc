#include "httpd/private_directory.h"

#include <cerrno>
#include <filesystem>
#include <system_error>

#include <sys/stat.h>
#include <unistd.h>

#include "httpd/apache.h"

namespace backhand::httpd {

namespace {

// The user whom moderator and children run as.
uid_t serving_user() {
    return ::geteuid() == 0 ? ap_unixd_config.user_id : ::geteuid();
}

}  // namespace

Status make_private_directory(const std::string& path) {
    std::error_code error;
    if (std::filesystem::create_directories(path, error) && !error) {
        if (::chmod(path.c_str(), 0700) == 0 &&
            (::geteuid() != 0 ||
             ::lchown(path.c_str(), serving_user(), ap_unixd_config.group_id) == 0)) {
            return Done{};
        }
        return Error{Error::Kind::system, std::generic_category().message(errno)};
    }

    struct stat entry {};

    if (error || ::lstat(path.c_str(), &entry) != 0 || !S_ISDIR(entry.st_mode)) {
        return Error{Error::Kind::system, error ? error.message() : "it is no directory"};
    }
    if (entry.st_uid != serving_user() || (entry.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return Error{Error::Kind::refused,
                     "it exists, and is not httpd's user's alone: expected a path where nothing is "
                     "yet, or a directory that belongs to httpd's User and that nobody else can "
                     "write"};
    }
    return Done{};
}

bool can_be_made(const std::string& path) {
    std::error_code error;
    std::filesystem::path existing{path};
    while (!std::filesystem::exists(existing, error) && existing.has_relative_path()) {
        existing = existing.parent_path();
    }
    return std::filesystem::is_directory(existing, error);
}

}  // namespace backhand::httpd
