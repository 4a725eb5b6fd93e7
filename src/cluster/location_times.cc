#include "cluster/location_times.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/text.h"

namespace backhand {

namespace {

constexpr std::uint32_t count_max = 0xFF;

// One word of the table, taken apart.  All zero: empty.
struct Entry {
    std::uint32_t tag = 0;
    float mean_ns = 0;
    std::uint32_t count = 0;

    static std::uint32_t tag_in(std::uint64_t word) {
        return static_cast<std::uint32_t>(word >> 32U);
    }

    static std::uint32_t count_in(std::uint64_t word) {
        return static_cast<std::uint32_t>(word & count_max);
    }

    // The sign is always zero.  The seven lowest bits of the mantissa are left out: a mean is at
    // most 1/2,000 off, which is what a weight of 1/32 makes of them.
    static Entry unpack(std::uint64_t word) {
        const auto mean_bits = static_cast<std::uint32_t>(word >> 8U) & 0xFFFFFFU;
        return {.tag = tag_in(word),
                .mean_ns = std::bit_cast<float>(mean_bits << 7U),
                .count = count_in(word)};
    }

    std::uint64_t pack() const {
        const std::uint64_t mean_bits = std::bit_cast<std::uint32_t>(mean_ns) >> 7U;
        return std::uint64_t{tag} << 32U | mean_bits << 8U | count;
    }

    // A count that was worn down makes the next samples weigh more: what is hardly used any more
    // may have become something else.
    void learn(float took_ns) {
        count = std::min(count + 1, count_max);
        const std::uint32_t weight = std::min(count, LocationTimes::samples_memory);
        mean_ns += (took_ns - mean_ns) / static_cast<float>(weight);
    }
};

static_assert(std::numeric_limits<float>::is_iec559);

}  // namespace

// What is written depends on nothing but the word that was read, and takes effect only if that is
// still there: relaxed order is enough.
void LocationTimes::learn(std::uint64_t key, Nanoseconds took) {
    const auto took_ns = static_cast<float>(std::clamp(took, Nanoseconds{0}, longest).count());
    const std::uint32_t tag = tag_of(key);
    Set& set = sets_[set_of(key)];

    std::atomic<std::uint64_t>* chosen = nullptr;
    std::uint64_t before = 0;
    for (std::atomic<std::uint64_t>& way : set) {
        const std::uint64_t word = way.load(std::memory_order_relaxed);
        const bool is_own = Entry::tag_in(word) == tag;
        if (is_own || (chosen == nullptr && Entry::count_in(word) == 0)) {
            chosen = &way;
            before = word;
        }
        if (is_own) {
            break;
        }
    }
    if (chosen == nullptr) {
        wear_down(set);
        return;
    }

    Entry entry = Entry::unpack(before);
    if (entry.tag != tag) {
        entry = {.tag = tag};
    }
    entry.learn(took_ns);
    chosen->compare_exchange_strong(before, entry.pack(), std::memory_order_relaxed);
}

Nanoseconds time_alone(Nanoseconds took, double in_progress, double cpus) {
    // Fewer requests than CPUs do not wait for one another.
    const double sharing = cpus > 0 ? std::max(1.0, in_progress / cpus) : 1;
    return std::chrono::duration_cast<Nanoseconds>(took / sharing);
}

void LocationTimes::wear_down(Set& set) {
    for (std::atomic<std::uint64_t>& way : set) {
        std::uint64_t word = way.load(std::memory_order_relaxed);
        if (Entry::count_in(word) != 0) {
            // The count lies in the lowest bits.
            way.compare_exchange_strong(word, word - 1, std::memory_order_relaxed);
        }
    }
}

std::optional<Nanoseconds> LocationTimes::mean(std::uint64_t key) const {
    const std::uint32_t tag = tag_of(key);
    for (const std::atomic<std::uint64_t>& way : sets_[set_of(key)]) {
        const std::uint64_t word = way.load(std::memory_order_relaxed);
        if (Entry::tag_in(word) == tag) {
            const Entry entry = Entry::unpack(word);
            if (entry.count < samples_min) {
                return std::nullopt;
            }
            return Nanoseconds{static_cast<std::int64_t>(entry.mean_ns)};
        }
    }
    return std::nullopt;
}

std::string_view location_of(std::string_view path, bool executes) {
    constexpr int segments_max = 2;
    int slashes = 0;
    std::size_t directory_size = 0;
    std::size_t index = 0;
    for (; index < path.size() && path[index] != '?' && path[index] != ';'; ++index) {
        if (path[index] != '/') {
            continue;
        }
        directory_size = index + 1;
        if (slashes == segments_max) {
            break;
        }
        ++slashes;
    }
    if (!executes) {
        return path.substr(0, directory_size);
    }
    const bool ends_with_slash = index > 1 && directory_size == index;
    return path.substr(0, ends_with_slash ? index - 1 : index);
}

std::uint64_t location_key(std::string_view site, std::string_view path, bool executes) {
    return location_key(hash_ignoring_case(site), path, executes);
}

// FNV-1a, continued from the site's hash.
std::uint64_t location_key(std::uint64_t site_hash, std::string_view path, bool executes) {
    std::uint64_t hash = site_hash;
    for (const char letter : location_of(path, executes)) {
        hash = (hash ^ static_cast<std::uint8_t>(letter)) * 0x100000001B3U;
    }
    return hash != 0 ? hash : 1;
}

}  // namespace backhand
