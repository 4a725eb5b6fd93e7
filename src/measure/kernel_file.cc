#include "measure/kernel_file.h"

#include <fcntl.h>
#include <unistd.h>

namespace backhand {

std::optional<std::string_view> KernelFile::read(std::span<char> buffer) noexcept {
    if (absent_) {
        return std::nullopt;
    }
    if (!fd_) {
        fd_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    }
    const ssize_t size = fd_ ? ::pread(fd_.get(), buffer.data(), buffer.size(), 0) : -1;
    if (size < 0) {
        fd_.reset();
        absent_ = true;
        vanished_ = was_read_;
        return std::nullopt;
    }
    was_read_ = true;
    return std::string_view{buffer.data(), static_cast<std::size_t>(size)};
}

void KernelFile::look_again() noexcept {
    if (absent_) {
        was_read_ = false;
        absent_ = false;
        vanished_ = false;
    }
}

std::optional<std::string> read_whole_file(const std::string& path, std::size_t bytes_max) {
    constexpr std::size_t piece_bytes = 16UL * 1024;
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) {
        return std::nullopt;
    }
    std::string text;
    while (text.size() < bytes_max) {
        const std::size_t used = text.size();
        text.resize(used + std::min(piece_bytes, bytes_max - used));
        const ssize_t size = ::read(file.get(), text.data() + used, text.size() - used);
        if (size < 0) {
            return std::nullopt;
        }
        text.resize(used + static_cast<std::size_t>(size));
        if (size == 0) {
            break;
        }
    }
    return text;
}

}  // namespace backhand
