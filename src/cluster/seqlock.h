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

namespace backhand {

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
        return read_whole([&] { copy_out(&value, 0, sizeof(T)); });
    }

    // Runs `copy`, which reads by copy_out() and word_at(), until it saw one value throughout; at
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

    // Part of the value.  REQUIRES: within T and in whole words; called from read_whole()'s `copy`.
    void copy_out(void* to, std::size_t offset, std::size_t bytes) const {
        auto* target = static_cast<std::byte*>(to);
        for (std::size_t done = 0; done < bytes; done += sizeof(std::uint64_t)) {
            const std::uint64_t word = word_at(offset + done);
            std::memcpy(target + done, &word, sizeof word);
        }
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
