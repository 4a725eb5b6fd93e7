// The moderator's questions: one at a time to each contact, never waited for, and passed by nothing
// but the right answer.
#include "moderator/challenger.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "announce/challenge.h"
#include "keys_of_tests.h"
#include "loopback.h"

namespace backhand {
namespace {

constexpr std::uint64_t first_boot = 1;

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr std::string_view loopback = "127.0.0.1";

struct AChallenger : testing::Test {
    // Asks, lets the server do its part, and waits until the question has ended.
    void ask_and(const std::function<void(Conversation&)>& serve,
                 const std::string& name = "web2") {
        const std::jthread serving([this, &serve] {
            if (auto conversation = server.next()) {
                serve(*conversation);
            }
        });
        ASSERT_TRUE(challenger.ask(server.contact(), name, first_boot, monotonic_now()));
        run();
    }

    // Until nothing is being asked any more.
    void run() {
        loop.restart();
        loop.run();
    }

    std::string right_answer(const Conversation& conversation, const KeyRing& its_keys,
                             std::string_view name = "web2") const {
        const auto nonce =
            read_challenge(conversation.field("Backhand-Challenge"), server.contact(), keys);
        EXPECT_TRUE(nonce);
        return nonce ? answer_text(*nonce, {.contact = server.contact(), .name = name}, answer,
                                   its_keys)
                     : "";
    }

    ChallengeAnswer answer{.boot_id = 7, .measurement = 42, .serving = 3, .workers_idle = 9};
    KeyRing keys = ring_of({old_secret});
    WebServer server;
    Endpoint who_is_asked = server.contact();
    std::vector<std::pair<Endpoint, ChallengeAnswer>> passed;
    std::vector<std::string> failed;
    asio::io_context loop{1};
    Challenger challenger{loop, keys, *IpAddress::parse(loopback),
                          [this](const Endpoint& contact, const ChallengeAnswer& its_answer) {
                              passed.emplace_back(contact, its_answer);
                          },
                          [this](const Endpoint& contact, const std::string& why) {
                              EXPECT_EQ(contact, who_is_asked);
                              failed.push_back(why);
                          }};
};

// ---- the right answer ----

TEST_F(AChallenger, IsPassedByTheRightAnswer) {
    ask_and([this](Conversation& asked) { asked.answer("200 OK", right_answer(asked, keys)); });

    EXPECT_THAT(passed, ElementsAre(std::pair{server.contact(), answer}));
    EXPECT_THAT(failed, IsEmpty());
}

TEST_F(AChallenger, IsPassedByTheRightAnswerHoweverItIsCutUp) {
    ask_and([this](Conversation& asked) {
        const std::string body = right_answer(asked, keys);
        const std::string response =
            "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        for (const char letter : response) {
            asked.say({&letter, 1});
            std::this_thread::yield();
        }
    });

    EXPECT_EQ(passed.size(), 1U);
}

TEST_F(AChallenger, AsksAsAMemberDoes) {
    ask_and([](Conversation& asked) {
        EXPECT_THAT(asked.request(), StartsWith("GET /.well-known/backhand HTTP/1.0\r\n"));
        EXPECT_EQ(asked.asker(), *IpAddress::parse(loopback));
    });
}

TEST_F(AChallenger, AsksFromTheAddressThatMembersKnow) {
    Challenger elsewhere{loop, keys, *IpAddress::parse("127.0.0.9"),
                         [](const Endpoint&, const ChallengeAnswer&) {},
                         [](const Endpoint&, const std::string&) {}};
    IpAddress asker;
    {
        const std::jthread serving([this, &asker] {
            if (const auto conversation = server.next()) {
                asker = conversation->asker();
            }
        });
        ASSERT_TRUE(elsewhere.ask(server.contact(), "web2", first_boot, monotonic_now()));
        run();
    }

    EXPECT_EQ(asker, *IpAddress::parse("127.0.0.9"));
}

TEST_F(AChallenger, AsksAnotherNumberEachTime) {
    std::vector<std::string> questions;
    for (int time = 0; time < 2; ++time) {
        ask_and([&](Conversation& asked) {
            questions.push_back(asked.field("Backhand-Challenge"));
            asked.answer("200 OK", right_answer(asked, keys));
        });
    }

    ASSERT_EQ(questions.size(), 2U);
    EXPECT_NE(questions[0], questions[1]);
}

// ---- other answers ----

TEST_F(AChallenger, IsNotPassedByAPageThatIsNotThere) {
    ask_and(
        [this](Conversation& asked) { asked.answer("404 Not Found", right_answer(asked, keys)); });

    EXPECT_THAT(passed, IsEmpty());
    EXPECT_THAT(failed, ElementsAre("not a Backhand server: its answer to the challenge is 404 Not "
                                    "Found"));
}

TEST_F(AChallenger, IsNotPassedWithAnotherKey) {
    const KeyRing others = ring_of({new_secret});

    ask_and([&](Conversation& asked) { asked.answer("200 OK", right_answer(asked, others)); });

    EXPECT_THAT(passed, IsEmpty());
    EXPECT_THAT(failed, ElementsAre(HasSubstr("not signed with our key")));
}

TEST_F(AChallenger, IsNotPassedByAnotherServer) {
    ask_and(
        [&](Conversation& asked) { asked.answer("200 OK", right_answer(asked, keys, "web3")); });

    EXPECT_THAT(passed, IsEmpty());
    EXPECT_THAT(failed, ElementsAre(HasSubstr("the answer is of another server")));
}

TEST_F(AChallenger, IsNotPassedByTheAnswerToAnEarlierQuestion) {
    std::string recorded;
    ask_and([&](Conversation& asked) {
        recorded = right_answer(asked, keys);
        asked.answer("200 OK", recorded);
    });
    ask_and([&](Conversation& asked) { asked.answer("200 OK", recorded); });

    EXPECT_EQ(passed.size(), 1U);
    EXPECT_EQ(failed.size(), 1U);
}

TEST_F(AChallenger, IsNotPassedByGarbage) {
    ask_and([](Conversation& asked) { asked.say("SSH-2.0-OpenSSH_9.2\r\n"); });

    EXPECT_THAT(failed, ElementsAre(StartsWith("no HTTP response: ")));
}

TEST_F(AChallenger, IsNotPassedByAnEmptyAnswer) {
    ask_and([](Conversation& asked) { asked.answer("200 OK", ""); });

    EXPECT_EQ(failed.size(), 1U);
}

TEST_F(AChallenger, IsNotPassedByASecondAnswerBehindAWrongOne) {
    ask_and([&](Conversation& asked) {
        const std::string right = right_answer(asked, keys);
        asked.answer("200 OK", "backhand 1\n");
        asked.answer("200 OK", right);
    });

    EXPECT_THAT(passed, IsEmpty());
    EXPECT_EQ(failed.size(), 1U);
}

TEST_F(AChallenger, IsNotPassedWhenTheConnectionCloses) {
    ask_and([](Conversation&) {});

    EXPECT_EQ(failed.size(), 1U);
}

TEST_F(AChallenger, IsNotPassedByHalfAnAnswer) {
    ask_and([&](Conversation& asked) {
        const std::string body = right_answer(asked, keys);
        asked.say("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                  body.substr(0, body.size() - 1));
    });

    EXPECT_THAT(passed, IsEmpty());
    EXPECT_EQ(failed.size(), 1U);
}

TEST_F(AChallenger, IsNotPassedByAnAnswerWithoutALength) {
    ask_and([&](Conversation& asked) {
        asked.say("HTTP/1.1 200 OK\r\n\r\n" + right_answer(asked, keys));
    });

    EXPECT_THAT(passed, IsEmpty());
    EXPECT_EQ(failed.size(), 1U);
}

TEST_F(AChallenger, IsNotPassedWhereNobodyListens) {
    const Endpoint nobody = bound_socket(SOCK_STREAM).address;
    std::string why;
    Challenger other{loop, keys, *IpAddress::parse(loopback),
                     [](const Endpoint&, const ChallengeAnswer&) {},
                     [&why](const Endpoint&, const std::string& its_why) { why = its_why; }};

    ASSERT_TRUE(other.ask(nobody, "web2", first_boot, monotonic_now()));
    run();

    EXPECT_EQ(why, "Connection refused");
}

// ---- answers without an end ----

TEST_F(AChallenger, HangsUpOnAHeadWithoutAnEnd) {
    ask_and([](Conversation& asked) {
        asked.say("HTTP/1.1 200 OK\r\n");
        while (asked.say("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")) {
        }
    });

    EXPECT_THAT(failed, ElementsAre("the answer is too long"));
}

TEST_F(AChallenger, HangsUpOnABodyWithoutAnEnd) {
    ask_and([](Conversation& asked) {
        asked.say("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n");
        while (asked.say(std::string(1'000, 'x'))) {
        }
    });

    EXPECT_THAT(failed, ElementsAre("the answer is too long"));
}

TEST_F(AChallenger, HangsUpOnAServerThatSaysNothing) {
    ask_and([](Conversation& asked) { asked.keep_silent(); });

    EXPECT_THAT(failed, ElementsAre("no answer in time"));
}

TEST_F(AChallenger, HangsUpOnAServerThatNeverFinishes) {
    ask_and([](Conversation& asked) {
        asked.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        while (asked.say("x")) {
            std::this_thread::sleep_for(milliseconds{100});
        }
    });

    EXPECT_THAT(failed, ElementsAre("no answer in time"));
}

// ---- how often it asks ----

TEST_F(AChallenger, AsksAContactOnceAtATime) {
    ask_and([this](Conversation& asked) {
        EXPECT_FALSE(server.next(milliseconds{50}));
        asked.answer("200 OK", right_answer(asked, keys));
    });

    const std::jthread serving([this] {
        if (auto conversation = server.next()) {
            conversation->answer("200 OK", right_answer(*conversation, keys));
        }
    });
    EXPECT_TRUE(challenger.ask(server.contact(), "web2", first_boot, monotonic_now()));
    EXPECT_FALSE(challenger.ask(server.contact(), "web2", first_boot, monotonic_now()));
    EXPECT_FALSE(challenger.ask(server.contact(), "web3", first_boot, monotonic_now()));
    run();
    EXPECT_EQ(passed.size(), 2U);
}

TEST_F(AChallenger, AsksAgainAtOnceWhoHasPassed) {
    for (int time = 0; time < 3; ++time) {
        ask_and([this](Conversation& asked) { asked.answer("200 OK", right_answer(asked, keys)); });
    }

    EXPECT_EQ(passed.size(), 3U);
}

TEST_F(AChallenger, AsksEverMoreRarelyWhoHasNotPassed) {
    Endpoint nobody = bound_socket(SOCK_STREAM).address;
    Challenger other{loop, keys, *IpAddress::parse(loopback),
                     [](const Endpoint&, const ChallengeAnswer&) {},
                     [](const Endpoint&, const std::string&) {}};
    MonotonicTime now = monotonic_now();
    for (const int pause_ms : {250, 500, 1'000, 2'000, 4'000, 8'000, 16'000, 32'000, 32'000}) {
        const MonotonicTime pause = nanoseconds_in(milliseconds{pause_ms});
        const MonotonicTime before = monotonic_now();
        ASSERT_TRUE(other.ask(nobody, "web2", first_boot, now));
        run();

        EXPECT_FALSE(other.ask(nobody, "web2", first_boot, before + pause - 1)) << pause_ms;
        now = monotonic_now() + pause;
    }
}

TEST_F(AChallenger, AsksAtOnceWhoHasStartedAnewSinceItFailed) {
    const Endpoint nobody = bound_socket(SOCK_STREAM).address;
    who_is_asked = nobody;
    const MonotonicTime now = monotonic_now();
    MonotonicTime later = now;
    for (int time = 0; time < 3; ++time) {
        ASSERT_TRUE(challenger.ask(nobody, "web2", first_boot, later));
        run();
        later += nanoseconds_in(std::chrono::minutes{1});
    }
    EXPECT_FALSE(challenger.ask(nobody, "web2", first_boot, now));
    EXPECT_FALSE(challenger.ask(nobody, "web2", first_boot - 1, now));

    EXPECT_TRUE(challenger.ask(nobody, "web2", first_boot + 1, now));
    run();
    EXPECT_FALSE(challenger.ask(nobody, "web2", first_boot + 1, now));
}

TEST_F(AChallenger, AsksThirtyTwoAtATime) {
    const WebServer everywhere{"0.0.0.0"};
    const auto contact = [&](int number) {
        return Endpoint{.address = *IpAddress::parse("127.0.1." + std::to_string(number)),
                        .port = everywhere.contact().port};
    };
    std::vector<Endpoint> given_up;
    auto many = std::make_unique<Challenger>(
        loop, keys, *IpAddress::parse(loopback), [](const Endpoint&, const ChallengeAnswer&) {},
        [&](const Endpoint& asked, const std::string&) { given_up.push_back(asked); });

    for (int number = 1; number <= 32; ++number) {
        EXPECT_TRUE(many->ask(contact(number), "web2", first_boot, monotonic_now())) << number;
    }
    EXPECT_FALSE(many->ask(contact(33), "web2", first_boot, monotonic_now()));

    run();
    EXPECT_EQ(given_up.size(), 32U);
    EXPECT_TRUE(many->ask(contact(33), "web2", first_boot, monotonic_now()));
}

// As a moderator does that is told to stop.
TEST_F(AChallenger, MayGoWhileItsQuestionsAreOpen) {
    auto leaver = std::make_unique<Challenger>(
        loop, keys, *IpAddress::parse(loopback),
        [](const Endpoint&, const ChallengeAnswer&) { FAIL(); },
        [](const Endpoint&, const std::string&) { FAIL(); });
    ASSERT_TRUE(leaver->ask(server.contact(), "web2", first_boot, monotonic_now()));
    loop.poll();

    leaver.reset();
}

}  // namespace
}  // namespace backhand
