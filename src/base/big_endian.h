// Numbers as they stand in datagrams: the highest byte first.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace backhand {

// Fills as many bytes as the number has.  REQUIRES: there are so many.
template <std::unsigned_integral Number>
constexpr void put_big_endian(std::span<std::uint8_t> bytes, Number number) {
    std::uint64_t rest = number;
    for (std::size_t index = sizeof number; index > 0; --index) {
        bytes[index - 1] = static_cast<std::uint8_t>(rest);
        rest >>= 8U;
    }
}

// REQUIRES: there are as many bytes as the number has.
template <std::unsigned_integral Number>
constexpr Number get_big_endian(std::span<const std::uint8_t> bytes) {
    std::uint64_t number = 0;
    for (const std::uint8_t byte : bytes.first(sizeof(Number))) {
        number = number << 8U | byte;
    }
    return static_cast<Number>(number);
}

}  // namespace backhand
