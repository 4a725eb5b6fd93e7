#include "decide/plugin_board.h"

#include <climits>
#include <utility>

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/system_error.h"

namespace backhand {

namespace {

constexpr Nanoseconds line_every = std::chrono::seconds{1};

// Without FUTEX_PRIVATE_FLAG: between processes.
long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* longest) {
    static_assert(sizeof word == sizeof value);
    return ::syscall(SYS_futex, &word, operation, value, longest, nullptr, 0);
}

}  // namespace

std::optional<std::uint64_t> PluginMarks::note_corrected(MonotonicTime now) {
    const std::uint64_t corrected = corrected_.fetch_add(1, std::memory_order_relaxed) + 1;
    std::uint64_t told_at = told_at_.load(std::memory_order_relaxed);
    // Of several at the same time one writes the line.
    if ((told_at != 0 && elapsed(told_at, now) < line_every) ||
        !told_at_.compare_exchange_strong(told_at, now, std::memory_order_relaxed)) {
        return std::nullopt;
    }
    const std::uint64_t told = told_.exchange(corrected, std::memory_order_relaxed);
    return corrected > told ? corrected - told : 1;
}

struct PluginBoard::Header {
    std::atomic<std::uint32_t> changes;
};

namespace {

constexpr std::size_t lines_offset = 64;

}  // namespace

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

Result<PluginBoard> PluginBoard::make(std::size_t lines, std::size_t files) {
    const std::size_t bytes =
        lines_offset + lines * sizeof(PluginMarks) + files * sizeof(PluginFileMarks);
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return last_system_error("no shared memory for plug-ins");
    }
    return PluginBoard{memory, bytes, lines};
}

PluginBoard::PluginBoard(PluginBoard&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      bytes_(other.bytes_),
      lines_(other.lines_) {}

PluginBoard::~PluginBoard() {
    if (memory_ != nullptr) {
        ::munmap(memory_, bytes_);
    }
}

// The kernel's pages come zeroed, which is what every mark begins with.
PluginBoard::Header& PluginBoard::header() const {
    return *static_cast<Header*>(memory_);
}

PluginMarks& PluginBoard::line(std::size_t index) const {
    auto* const first = static_cast<std::byte*>(memory_) + lines_offset;
    return reinterpret_cast<PluginMarks*>(first)[index];
}

PluginFileMarks& PluginBoard::file(std::size_t index) const {
    auto* const first =
        static_cast<std::byte*>(memory_) + lines_offset + lines_ * sizeof(PluginMarks);
    return reinterpret_cast<PluginFileMarks*>(first)[index];
}

std::uint32_t PluginBoard::changes() const {
    return header().changes.load(std::memory_order_acquire);
}

void PluginBoard::announce_change() const {
    header().changes.fetch_add(1, std::memory_order_release);
    futex(header().changes, FUTEX_WAKE, INT_MAX, nullptr);
}

void PluginBoard::wait_for_change(std::uint32_t known, std::optional<Nanoseconds> longest) const {
    timespec limit{};
    if (longest) {
        limit.tv_sec = longest->count() / 1'000'000'000;
        limit.tv_nsec = longest->count() % 1'000'000'000;
    }
    futex(header().changes, FUTEX_WAIT, known, longest ? &limit : nullptr);
}

}  // namespace backhand
