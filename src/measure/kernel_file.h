// KernelFile: one of the small files in which the kernel keeps its numbers (proc(5), cgroups(7)),
// read again and again; and the tools to cut up what it says.
//
// It stays open: reading from its beginning is what makes the kernel write it anew.  A file that is
// not there, or that this process may not read, costs nothing: it is not looked for again until
// look_again() says so.  One thread per object.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "base/unique_fd.h"

namespace backhand {

class KernelFile {
public:
    explicit KernelFile(std::string path) : path_(std::move(path)) {}

    // What the file says now, as far as it fits into `buffer`; may be empty.  Nothing if it cannot
    // be read.
    std::optional<std::string_view> read(std::span<char> buffer) noexcept;

    // The file could be read and now cannot be: what it was about is gone, or was moved.
    bool vanished() const { return vanished_; }

    // Forgets that the file was not there.
    void look_again() noexcept;

private:
    std::string path_;
    UniqueFd fd_;
    bool was_read_ = false;
    bool absent_ = false;
    bool vanished_ = false;
};

// The whole of a file that the kernel hands out in pieces, cut at `bytes_max`.  Nothing if it
// cannot be read.  May throw std::bad_alloc.
std::optional<std::string> read_whole_file(const std::string& path, std::size_t bytes_max);

// Cuts the first line off `text`.
inline std::string_view take_line(std::string_view& text) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    return line;
}

// Cuts the first word off `line`; empty at its end.
inline std::string_view take_word(std::string_view& line) {
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(" \t")));
    const std::string_view word = line.substr(0, line.find_first_of(" \t"));
    line.remove_prefix(word.size());
    return word;
}

// The only number of a text: "4096\n".
inline std::optional<std::uint64_t> only_number(std::string_view text) {
    std::string_view line = take_line(text);
    const auto number = parse_number<std::uint64_t>(take_word(line));
    return line.empty() && text.empty() ? number : std::nullopt;
}

// The number in the line "name number".
inline std::optional<std::uint64_t> named_number(std::string_view text, std::string_view name) {
    while (!text.empty()) {
        std::string_view line = take_line(text);
        if (take_word(line) == name) {
            return only_number(line);
        }
    }
    return std::nullopt;
}

}  // namespace backhand
