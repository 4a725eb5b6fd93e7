// Seqlock: a value in shared memory that one process writes and any may read without waiting.
//
// The version is odd while the value is being written.  A reader copies and looks whether the
// version was even and the same before and after; otherwise it tries once more and then gives up,
// which it must be able to do: a writer that died in the middle leaves the version odd for good,
// until the next one writes.  Valid when all bytes are zero: never written.
//
// Boehm, "Can Seqlocks Get Along With Programming Language Memory Models?", MSPC 2012: the words
// are atomic because a reader may look while the writer writes; acquire and release on each of them
// order the copy against the version (on x86 these are plain moves).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace backhand {

// Copies words that may be changed meanwhile, each whole.  Without a loop, and straight to where
// they belong: decisions do it for every server.
template <std::size_t count, std::memory_order order>
void copy_words(const std::atomic<std::uint64_t>* from, void* to) {
    const auto copy = [from, to](std::size_t index) {
        const std::uint64_t word = from[index].load(order);
        std::memcpy(static_cast<std::byte*>(to) + index * sizeof word, &word, sizeof word);
    };
    [&copy]<std::size_t... index>(std::index_sequence<index...>) {
        (copy(index), ...);
    }(std::make_index_sequence<count>{});
}

template <class T>
class Seqlock {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::uint64_t) == 0);

public:
    // REQUIRES: nobody else is writing.
    void write(const T& value) {
        // A predecessor may have died in the middle: its odd version is simply continued.
        const std::uint32_t begun = version_.load(std::memory_order_relaxed) | 1U;
        version_.store(begun, std::memory_order_relaxed);
        std::array<std::uint64_t, words_count> copy{};
        std::memcpy(copy.data(), &value, sizeof(T));
        for (std::size_t index = 0; index < words_count; ++index) {
            words_[index].store(copy[index], std::memory_order_release);
        }
        version_.store(begun + 1, std::memory_order_release);
    }

    // False: never written, or being written (twice) at this very moment; `value` is then unusable.
    bool read(T& value) const {
        return read_whole([&] {
            auto* const target = reinterpret_cast<std::byte*>(&value);
            for (std::size_t offset = 0; offset < sizeof(T); offset += sizeof(std::uint64_t)) {
                const std::uint64_t word = word_at(offset);
                std::memcpy(target + offset, &word, sizeof word);
            }
        });
    }

    // Runs `copy`, which reads by copy_first() and word_at(), until it saw one value throughout; at
    // most twice.
    template <class Copy>
    bool read_whole(Copy copy) const {
        for (int attempt = 0; attempt < 2; ++attempt) {
            const std::uint32_t before = version_.load(std::memory_order_acquire);
            if (before == 0) {
                return false;
            }
            if ((before & 1U) != 0) {
                continue;
            }
            copy();
            if (version_.load(std::memory_order_relaxed) == before) {
                return true;
            }
        }
        return false;
    }

    // The value's first bytes.  REQUIRES: called from read_whole()'s `copy`, as word_at().
    template <std::size_t bytes>
    void copy_first(void* to) const {
        static_assert(bytes <= sizeof(T) && bytes % sizeof(std::uint64_t) == 0);
        copy_words<bytes / sizeof(std::uint64_t), std::memory_order_acquire>(words_.data(), to);
    }

    std::uint64_t word_at(std::size_t offset) const {
        return words_[offset / sizeof(std::uint64_t)].load(std::memory_order_acquire);
    }

private:
    static constexpr std::size_t words_count = sizeof(T) / sizeof(std::uint64_t);

    std::atomic<std::uint32_t> version_{0};
    std::array<std::atomic<std::uint64_t>, words_count> words_{};
};

}  // namespace backhand
