// FileIdentity: whether a file is the one seen before, and unchanged since.
#pragma once

#include <cstdint>

#include <sys/stat.h>

namespace backhand {

struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t size_bytes = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;  // its owner, mode and names, too

    static FileIdentity of(const struct stat& entry) {
        constexpr std::int64_t second_ns = 1'000'000'000;
        return {entry.st_dev, entry.st_ino, static_cast<std::uint64_t>(entry.st_size),
                entry.st_mtim.tv_sec * second_ns + entry.st_mtim.tv_nsec,
                entry.st_ctim.tv_sec * second_ns + entry.st_ctim.tv_nsec};
    }

    // The same file, whatever has been written into it.
    bool same_file(const FileIdentity& other) const {
        return device == other.device && inode == other.inode;
    }

    // The same file with the same content.
    bool same_content(const FileIdentity& other) const {
        return same_file(other) && size_bytes == other.size_bytes &&
               modified_ns == other.modified_ns;
    }

    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

}  // namespace backhand
