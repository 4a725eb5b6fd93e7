// A folder of a test's own, gone with all that is in it when the test is over.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace backhand {

class TemporaryFolder {
public:
    // `pattern` ends in XXXXXX, as mkdtemp wants it.
    explicit TemporaryFolder(std::string pattern = std::filesystem::temp_directory_path() /
                                                   "backhand-XXXXXX")
        : path_(std::move(pattern)) {
        EXPECT_NE(::mkdtemp(path_.data()), nullptr) << path_;
    }

    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    ~TemporaryFolder() { std::filesystem::remove_all(path_); }

    const std::string& path() const { return path_; }

private:
    std::string path_;
};

}  // namespace backhand
