#include "moderator/boot_id.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "base/text.h"

namespace backhand {

namespace {

std::uint64_t milliseconds_since_1970() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

std::uint64_t read_previous(const std::string& path) {
    std::ifstream file{path};
    std::string text;
    std::getline(file, text);
    return parse_number<std::uint64_t>(text).value_or(0);
}

bool write(const std::string& path, std::uint64_t value) {
    const std::string fresh_path = path + ".new";
    {
        std::ofstream file{fresh_path, std::ios::trunc};
        file << value << '\n';
        file.flush();
        if (!file) {
            return false;
        }
    }
    return std::rename(fresh_path.c_str(), path.c_str()) == 0;
}

}  // namespace

BootId next_boot_id(const std::string& state_directory) {
    const std::string path = state_directory + "/boot_id";
    BootId result;
    result.value = std::max(read_previous(path) + 1, milliseconds_since_1970());
    if (!write(path, result.value)) {
        result.trouble = "cannot keep the boot id in " + path +
                         ": if the clock is set back, peers ignore this server until it catches up";
    }
    return result;
}

}  // namespace backhand
