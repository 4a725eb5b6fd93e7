// Bytes as lower-case hexadecimal text, as tags and nonces are written in header fields.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/text.h"

namespace backhand {

template <std::size_t Size>
std::string hex(const std::array<std::uint8_t, Size>& bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * Size);
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4U];
        text += digits[byte & 15U];
    }
    return text;
}

// nullopt unless `text` is exactly so many bytes.
template <std::size_t Size>
std::optional<std::array<std::uint8_t, Size>> from_hex(std::string_view text) {
    std::array<std::uint8_t, Size> bytes{};
    if (text.size() != 2 * Size) {
        return std::nullopt;
    }
    for (std::size_t index = 0; index < Size; ++index) {
        const auto byte = parse_number<std::uint8_t>(text.substr(2 * index, 2), 16);
        if (!byte) {
            return std::nullopt;
        }
        bytes[index] = *byte;
    }
    return bytes;
}

}  // namespace backhand
