// Numbers and names in text: reading what someone else wrote, and writing our own.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace backhand {

inline std::span<const std::uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// The whole of `text` as a number; nothing else before or after it, and within T.
template <class T>
std::optional<T> parse_number(std::string_view text, int base = 10) {
    T value{};
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
    if (text.empty() || error != std::errc{} || stopped != end) {
        return std::nullopt;
    }
    return value;
}

inline std::optional<double> parse_fraction(std::string_view text) {
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (text.empty() || error != std::errc{} || stopped != end) {
        return std::nullopt;
    }
    return value;
}

template <std::integral T>
void append_number(std::string& text, T number) {
    std::array<char, std::numeric_limits<T>::digits10 + 2>
        digits{};  // a sign, and what is more than 10^n
    const auto [end, error] = std::to_chars(digits.begin(), digits.end(), number);
    text.append(digits.begin(), end);
}

constexpr char to_lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

// Compares as HTTP compares field names and DNS compares host names: ASCII letters without case.
constexpr bool equal_ignoring_case(std::string_view left, std::string_view right) {
    if (left.size() != right.size()) {
        return false;
    }
    for (std::size_t index = 0; index < left.size(); ++index) {
        if (to_lower(left[index]) != to_lower(right[index])) {
            return false;
        }
    }
    return true;
}

// FNV-1a, 64 bits, ASCII letters without case: how site names are compared on every request.
constexpr std::uint64_t hash_ignoring_case(std::string_view text) {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const char letter : text) {
        hash = (hash ^ static_cast<std::uint8_t>(to_lower(letter))) * 0x100000001B3U;
    }
    return hash;
}

}  // namespace backhand
