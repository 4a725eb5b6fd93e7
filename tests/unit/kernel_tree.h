// A temporary folder of files that stand in for those of the kernel: /proc, and the control groups
// below /sys/fs/cgroup.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "temporary_folder.h"

namespace backhand {

class KernelTree {
public:
    // What stands before every path.
    const std::string& root() const { return root_; }

    std::string proc() const { return root_ + "/proc"; }

    // Keeps the file's identity, as the kernel does: a meter may have it open.
    void write(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path{root_ + path}.parent_path());
        std::ofstream{root_ + path} << text;
    }

    void remove(const std::string& path) const { std::filesystem::remove_all(root_ + path); }

    void link(const std::string& path, const std::string& target) const {
        std::filesystem::create_symlink(target, root_ + path);
    }

private:
    const TemporaryFolder folder_;
    const std::string& root_ = folder_.path();
};

}  // namespace backhand
