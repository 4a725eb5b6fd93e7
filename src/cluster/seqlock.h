// Seqlock: a value in shared memory that one process writes and any may read without waiting.
//
// There are two copies.  The version says, by being even or odd, which of them is the value; a
// writer fills the other and raises the version.  So a writer that stands still in the middle, or
// dies there, is in nobody's way: the value is the old one until the next is whole.  A reader
// copies and looks whether the version is still the same; otherwise it tries once more and then
// gives up.  Valid when all bytes are zero: never written.
//
// Boehm, "Can Seqlocks Get Along With Programming Language Memory Models?", MSPC 2012: the words
// are atomic because a slow reader may look where the writer after next writes; acquire and release
// on each of them order the copy against the version (on x86 these are plain moves).
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

    static constexpr std::size_t words_count = sizeof(T) / sizeof(std::uint64_t);
    using Words = std::array<std::uint64_t, words_count>;
    using AtomicWords = std::array<std::atomic<std::uint64_t>, words_count>;

public:
    // REQUIRES: nobody else is writing.
    void write(const T& value) {
        const std::uint64_t next = version_.load(std::memory_order_relaxed) + 1;
        Words copy{};
        std::memcpy(copy.data(), &value, sizeof(T));
        AtomicWords& spare = copies_[next % copies_.size()];
        for (std::size_t index = 0; index < words_count; ++index) {
            spare[index].store(copy[index], std::memory_order_release);
        }
        version_.store(next, std::memory_order_release);
    }

    // False: never written, or written twice while it was read; `value` is then unusable.
    bool read(T& value) const {
        return read_whole([&](const Reader& reader) {
            auto* const target = reinterpret_cast<std::byte*>(&value);
            for (std::size_t offset = 0; offset < sizeof(T); offset += sizeof(std::uint64_t)) {
                const std::uint64_t word = reader.word_at(offset);
                std::memcpy(target + offset, &word, sizeof word);
            }
        });
    }

    // What `copy` of read_whole() reads by.
    class Reader {
    public:
        // The value's first bytes.
        template <std::size_t bytes>
        void copy_first(void* to) const {
            static_assert(bytes <= sizeof(T) && bytes % sizeof(std::uint64_t) == 0);
            copy_words<bytes / sizeof(std::uint64_t), std::memory_order_acquire>(words_.data(), to);
        }

        std::uint64_t word_at(std::size_t offset) const {
            return words_[offset / sizeof(std::uint64_t)].load(std::memory_order_acquire);
        }

    private:
        friend class Seqlock;

        explicit Reader(const AtomicWords& words) : words_(words) {}

        const AtomicWords& words_;
    };

    // Runs `copy` until it saw one value throughout; at most twice.
    template <class Copy>
    bool read_whole(Copy copy) const {
        for (int attempt = 0; attempt < 2; ++attempt) {
            const std::uint64_t before = version_.load(std::memory_order_acquire);
            if (before == 0) {
                return false;
            }
            copy(Reader{copies_[before % copies_.size()]});
            if (version_.load(std::memory_order_relaxed) == before) {
                return true;
            }
        }
        return false;
    }

private:
    std::atomic<std::uint64_t> version_{0};
    std::array<AtomicWords, 2> copies_{};
};

}  // namespace backhand
