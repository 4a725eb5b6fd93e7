// Readers of a seqlock never see half a value, whatever its writers do, and whoever of them dies.
#include "cluster/seqlock.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/random.h"
#include "child_process.h"
#include "cluster/table.h"
#include "table_test.h"

namespace backhand {
namespace {

// A value in which every word tells of which value it is part.
struct Telltale {
    static constexpr std::size_t words_count = 128;

    std::array<std::uint64_t, words_count> words{};

    static Telltale of(std::uint64_t number) {
        Telltale value;
        for (std::size_t index = 0; index < words_count; ++index) {
            value.words[index] = number * words_count + index;
        }
        return value;
    }

    std::uint64_t number() const { return words[0] / words_count; }

    bool is_whole() const { return words == of(number()).words; }
};

using Lock = Seqlock<Telltale>;

struct ASeqlock : testing::Test {
    Lock lock;

    // 0: it cannot be read.
    std::uint64_t number_read() const {
        Telltale value;
        if (!lock.read(value)) {
            return 0;
        }
        EXPECT_TRUE(value.is_whole());
        return value.number();
    }
};

TEST_F(ASeqlock, ReadsAsNothingUntilItIsWritten) {
    EXPECT_EQ(number_read(), 0U);
}

TEST_F(ASeqlock, ReadsAsItWasWrittenLast) {
    lock.write(Telltale::of(1));
    EXPECT_EQ(number_read(), 1U);

    lock.write(Telltale::of(2));
    EXPECT_EQ(number_read(), 2U);
}

TEST_F(ASeqlock, ReadsInPartsAsWhole) {
    lock.write(Telltale::of(3));
    std::array<std::uint64_t, 4> first{};
    std::uint64_t last = 0;

    const bool whole = lock.read_whole([&](const Lock::Reader& reader) {
        reader.copy_first<sizeof first>(first.data());
        last = reader.word_at(127 * sizeof(std::uint64_t));
    });

    EXPECT_TRUE(whole);
    EXPECT_EQ(first[0], 3U * 128);
    EXPECT_EQ(first[3], 3U * 128 + 3);
    EXPECT_EQ(last, 3U * 128 + 127);
}

TEST_F(ASeqlock, IsReadOnceMoreWhenItWasWrittenMeanwhile) {
    lock.write(Telltale::of(1));
    int times = 0;

    const bool whole = lock.read_whole([&](const Lock::Reader&) {
        if (++times == 1) {
            lock.write(Telltale::of(2));
        }
    });

    EXPECT_TRUE(whole);
    EXPECT_EQ(times, 2);
}

TEST_F(ASeqlock, IsGivenUpWhenItIsWrittenEachTime) {
    lock.write(Telltale::of(1));
    int times = 0;

    const bool whole = lock.read_whole([&](const Lock::Reader&) {
        ++times;
        lock.write(Telltale::of(2));
    });

    EXPECT_FALSE(whole);
    EXPECT_EQ(times, 2);
}

// ---- a writer that dies ----

// Wherever it stops: it fills the spare copy in order, and then raises the version.
TEST_F(ASeqlock, ReadsAsBeforeWhereverAWriterStopped) {
    constexpr std::size_t copy_bytes = sizeof(Telltale);
    for (std::size_t stopped_at = 0; stopped_at <= Telltale::words_count; ++stopped_at) {
        lock.write(Telltale::of(1));
        auto* const memory = reinterpret_cast<std::byte*>(&lock);
        std::uint64_t version = 0;
        std::memcpy(&version, memory, sizeof version);
        const Telltale newer = Telltale::of(2);
        std::memcpy(memory + sizeof version + (version + 1) % 2 * copy_bytes, &newer,
                    stopped_at * sizeof(std::uint64_t));

        ASSERT_EQ(number_read(), 1U) << stopped_at;

        lock.write(Telltale::of(3));
        ASSERT_EQ(number_read(), 3U) << stopped_at;
    }
}

// A seqlock in memory that forked processes share.
class SharedLock {
public:
    struct Content {
        Lock lock;
        std::atomic<std::uint64_t> written{0};
    };

    SharedLock()
        : memory_(::mmap(nullptr, sizeof(Content), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
          content_(new (memory_) Content) {}

    SharedLock(const SharedLock&) = delete;
    SharedLock& operator=(const SharedLock&) = delete;

    ~SharedLock() { ::munmap(memory_, sizeof(Content)); }

    Content* operator->() const { return content_; }

private:
    void* memory_;
    Content* content_;
};

struct AWriterKilledAtAnyInstruction : testing::Test {
    // Writes for ever, with pauses in which readers get through.
    [[noreturn]] void write_from(std::uint64_t number) {
        for (;;) {
            shared->lock.write(Telltale::of(++number));
            shared->written.store(number);
            for (std::uint32_t looks = random.below(10); looks > 0; --looks) {
                Telltale seen;
                shared->lock.read(seen);
            }
        }
    }

    // Reads it, and looks whether it is whole.
    bool read() {
        const bool readable = shared->lock.read(value);
        torn += readable && !value.is_whole() ? 1 : 0;
        times_read += readable ? 1 : 0;
        return readable;
    }

    const SharedLock shared;
    Random random{1};
    Telltale value;
    int torn = 0;
    int times_read = 0;
};

TEST_F(AWriterKilledAtAnyInstruction, LeavesAWholeValueAndIsFollowedByTheNext) {
    constexpr int rounds = 300;
    for (int round = 0; round < rounds; ++round) {
        const std::uint64_t begun_at = 1'000'000 * (static_cast<std::uint64_t>(round) + 1);
        ChildProcess writer([&] {
            write_from(begun_at);
            return 0;
        });
        while (shared->written.load() <= begun_at) {
            std::this_thread::yield();
        }
        for (std::uint32_t looks = random.below(100); looks > 0; --looks) {
            read();
        }
        writer.kill();

        ASSERT_TRUE(read()) << "round " << round;
        shared->lock.write(Telltale::of(begun_at));
        ASSERT_TRUE(read()) << "round " << round;
        ASSERT_EQ(value.number(), begun_at);
    }

    EXPECT_EQ(torn, 0);
    EXPECT_GT(times_read, 2 * rounds);
}

// ---- readers while it is written ----

// Runs `look` in several readers while `write` is done with each number from 1 on; and once more
// then, when nothing can be in the way.
template <class Write, class Look>
void look_while_written(std::uint64_t count, Write write, Look look) {
    write(std::uint64_t{1});
    std::vector<std::jthread> readers;
    readers.reserve(3);
    for (int reader = 0; reader < 3; ++reader) {
        readers.emplace_back([look](const std::stop_token& written) {
            for (bool last = false; !last;) {
                last = written.stop_requested();
                look();
            }
        });
    }
    for (std::uint64_t number = 2; number <= count; ++number) {
        write(number);
    }
}

struct ReadersDuringAWrite : TableTest {
    static constexpr std::uint64_t writes_count = 10'000;

    std::atomic<std::uint64_t> torn{0};
    std::atomic<std::uint64_t> read{0};
};

TEST_F(ReadersDuringAWrite, NeverSeeATornValue) {
    Lock lock;

    look_while_written(
        writes_count, [&](std::uint64_t number) { lock.write(Telltale::of(number)); },
        [&] {
            Telltale value;
            if (lock.read(value)) {
                torn += value.is_whole() ? 0 : 1;
                ++read;
            }
        });

    EXPECT_EQ(torn, 0U);
    EXPECT_GE(read, 3U);
}

TEST_F(ReadersDuringAWrite, NeverSeeAnOlderValueAfterANewerOne) {
    Lock lock;
    std::atomic<std::uint64_t> went_back{0};

    look_while_written(
        writes_count, [&](std::uint64_t number) { lock.write(Telltale::of(number)); },
        [&] {
            Telltale first;
            Telltale second;
            if (lock.read(first) && lock.read(second)) {
                went_back += second.number() < first.number() ? 1 : 0;
                ++read;
            }
        });

    EXPECT_EQ(went_back, 0U);
    EXPECT_GE(read, 3U);
}

// ---- the same in the table ----

// A report whose every part can be computed from its number, so that a mixture of two shows.
ServerReport telltale(std::uint64_t measurement) {
    ServerReport report = report_of("web2", 1, measurement, start + measurement);
    const auto low = static_cast<std::uint32_t>(measurement);
    report.load.memory_total_bytes = measurement * 3;
    report.load.load_permille = low ^ 0x55555555U;
    report.load.workers_max = low;
    report.load.flags = ~low;
    report.services_count = ServerReport::services_max;
    report.service_hashes.fill(measurement);
    return report;
}

bool is_whole(const LoadReport& load) {
    const auto low = static_cast<std::uint32_t>(load.measurement);
    return load.received_at == start + load.measurement &&
           load.memory_total_bytes == load.measurement * 3 &&
           load.load_permille == (low ^ 0x55555555U) && load.workers_max == low &&
           load.flags == ~low;
}

bool is_whole(const ServerReport& report) {
    return is_whole(report.load) && report.name_view() == "web2" &&
           std::all_of(report.service_hashes.begin(), report.service_hashes.end(),
                       [&](std::uint64_t hash) { return hash == report.load.measurement; });
}

struct ReadersOfTheTable : ReadersDuringAWrite {
    template <class Look>
    void look_while_taken(Look look) {
        look_while_written(
            writes_count,
            [this](std::uint64_t measurement) {
                ASSERT_EQ(table.take(telltale(measurement)).outcome, ClusterTable::Outcome::taken);
            },
            look);
    }
};

TEST_F(ReadersOfTheTable, NeverSeeATornReport) {
    look_while_taken([this] {
        if (const auto report = table.report(1)) {
            torn += is_whole(*report) ? 0 : 1;
            ++read;
        }
    });

    EXPECT_EQ(torn, 0U);
    EXPECT_GE(read, 3U);
    EXPECT_EQ(table.report(1)->load.measurement, writes_count);
}

TEST_F(ReadersOfTheTable, NeverSeeATornView) {
    look_while_taken([this] {
        ServerView seen;
        if (table.view(1, 0, start, seen)) {
            torn += is_whole(seen.load) ? 0 : 1;
            ++read;
        }
    });

    EXPECT_EQ(torn, 0U);
    EXPECT_GE(read, 3U);
}

TEST_F(ReadersOfTheTable, NeverSeeTheSitesOfAnotherReport) {
    look_while_taken([this] {
        const auto before = table.report(1);
        ServerView seen;
        if (before && table.view(1, before->load.measurement, start, seen)) {
            torn += seen.load.measurement == before->load.measurement ? 0 : 1;
            ++read;
        }
    });

    EXPECT_EQ(torn, 0U);
    EXPECT_GE(read, 3U);
}

TEST_F(ReadersOfTheTable, MayForwardAndRefreshMeanwhile) {
    look_while_taken([this] {
        table.forward_began(1);
        table.refresh(1, 1, writes_count + 1, 77, 0, start);
        table.forward_ended(1);
        ++read;
    });

    EXPECT_EQ(view(1).in_flight, 0U);
    EXPECT_EQ(view(1).serving, 77U);
    EXPECT_GE(read, 3U);
}

TEST(ANewSlot, IsSeenOnlyOnceItsReportIsWhole) {
    constexpr std::uint32_t slots_max = 128;
    const TableFixture table{slots_max, 1};
    std::atomic<std::uint64_t> incomplete{0};

    {
        const std::jthread reader([&](const std::stop_token& written) {
            while (!written.stop_requested()) {
                for (std::uint32_t index = 1; index < table->slots_used(); ++index) {
                    incomplete += table->report(index) ? 0 : 1;
                }
            }
        });
        for (std::uint32_t server = 1; server < slots_max; ++server) {
            ASSERT_EQ(table->take(report_of("web" + std::to_string(server), 1, 1)).outcome,
                      ClusterTable::Outcome::taken);
        }
    }

    EXPECT_EQ(incomplete, 0U);
}

}  // namespace
}  // namespace backhand
