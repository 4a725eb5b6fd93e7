// A contact proves that it holds the key, and nobody else can make it look so.
#include "announce/challenge.h"

#include <cctype>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "keys_of_tests.h"

namespace backhand {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::vector<std::string> words_of(const std::string& line) {
    std::vector<std::string> words(1);
    for (const char letter : line) {
        if (letter == ' ') {
            words.emplace_back();
        } else {
            words.back() += letter;
        }
    }
    return words;
}

std::string line_of(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) {
        line += (line.empty() ? "" : " ") + word;
    }
    return line;
}

// As another value: the last letter is replaced.
std::string altered(std::string word) {
    word.back() = word.back() == '1' ? '2' : '1';
    return word;
}

// Hexadecimal digits have no case.
bool is_same_digit(char left, char right) {
    return std::isxdigit(static_cast<unsigned char>(left)) != 0 &&
           to_lower(left) == to_lower(right);
}

struct ChallengeTest : testing::Test {
    KeyRing keys = ring_of({old_secret});
    Nonce nonce = make_nonce();
    Endpoint contact = *Endpoint::parse("10.0.0.2:80");
    Challenged asked{.contact = contact, .name = "web2"};
    ChallengeAnswer answer{.boot_id = std::numeric_limits<std::uint64_t>::max(),
                           .measurement = 4'711,
                           .serving = 3,
                           .workers_idle = std::numeric_limits<std::uint32_t>::max()};
};

// ---- nonces ----

TEST(ANonce, IsNeverTheSameTwice) {
    std::set<Nonce> nonces;
    for (int number = 0; number < 1'000; ++number) {
        nonces.insert(make_nonce());
    }

    EXPECT_EQ(nonces.size(), 1'000U);
}

// ---- the question ----

struct AQuestion : ChallengeTest {
    std::string value = challenge_value(nonce, contact, keys);

    std::optional<Nonce> read(std::string_view text) const {
        return read_challenge(text, contact, keys);
    }
};

TEST_F(AQuestion, IsUnderstoodByTheServerItIsMeantFor) {
    EXPECT_EQ(read(value), nonce);
}

TEST_F(AQuestion, HasThreeWordsOfFixedLength) {
    const auto words = words_of(value);

    ASSERT_EQ(words.size(), 3U);
    EXPECT_EQ(words[0], std::to_string(keys.signing_id()));
    EXPECT_EQ(words[1].size(), 32U);
    EXPECT_EQ(words[2].size(), 32U);
}

TEST_F(AQuestion, IsNotForAnotherContact) {
    EXPECT_FALSE(read_challenge(value, *Endpoint::parse("10.0.0.2:81"), keys));
    EXPECT_FALSE(read_challenge(value, *Endpoint::parse("10.0.0.3:80"), keys));
}

TEST_F(AQuestion, IsRefusedWithAnotherKey) {
    EXPECT_FALSE(read_challenge(value, contact, ring_of({new_secret})));
}

TEST_F(AQuestion, IsUnderstoodWhileKeysAreChanged) {
    const KeyRing next_is_second = ring_of({old_secret, new_secret});
    const KeyRing next_is_first = ring_of({new_secret, old_secret});

    EXPECT_EQ(read_challenge(value, contact, next_is_second), nonce);
    EXPECT_EQ(read_challenge(value, contact, next_is_first), nonce);
    EXPECT_EQ(
        read_challenge(challenge_value(nonce, contact, next_is_first), contact, next_is_second),
        nonce);
}

TEST_F(AQuestion, IsRefusedWhicheverWordIsAnother) {
    for (std::size_t index = 0; index < 3; ++index) {
        auto words = words_of(value);
        words[index] = altered(words[index]);
        EXPECT_FALSE(read(line_of(words))) << index;
    }
}

TEST_F(AQuestion, IsRefusedWhicheverBitIsFlipped) {
    for (std::size_t offset = 0; offset < value.size(); ++offset) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            std::string changed = value;
            changed[offset] = static_cast<char>(changed[offset] ^ static_cast<char>(1U << bit));
            EXPECT_EQ(read(changed).has_value(), is_same_digit(value[offset], changed[offset]))
                << offset << " " << changed;
        }
    }
}

TEST_F(AQuestion, IsRefusedWhereverItIsCut) {
    for (std::size_t size = 0; size < value.size(); ++size) {
        EXPECT_FALSE(read(value.substr(0, size))) << size;
    }
}

TEST_F(AQuestion, IsRefusedWithAnythingMore) {
    for (const char* more : {" ", "0", " 0", "\n", "\r\n", " x"}) {
        EXPECT_FALSE(read(value + more));
    }
    for (const char* more : {" ", "+", "-", "x", "0x", "1 "}) {
        EXPECT_FALSE(read(more + value));
    }
    EXPECT_FALSE(read(value + std::string(100'000, 'f')));
    EXPECT_FALSE(read(std::string(100'000, '9')));
    EXPECT_FALSE(read(std::string(100'000, ' ')));
}

TEST_F(AQuestion, IsRefusedWithAWordMissing) {
    for (std::size_t index = 0; index < 3; ++index) {
        auto words = words_of(value);
        words.erase(words.begin() + static_cast<std::ptrdiff_t>(index));
        EXPECT_FALSE(read(line_of(words))) << index;
    }
    EXPECT_FALSE(read(""));
}

TEST_F(AQuestion, IsRefusedWithTheAnswersTag) {
    const auto answer_words = words_of(answer_text(nonce, asked, answer, keys));
    auto words = words_of(value);
    words[2] = answer_words.back().substr(0, 32);

    EXPECT_FALSE(read(line_of(words)));
}

TEST_F(AQuestion, IsAWholeRequest) {
    const std::string request = challenge_request(nonce, contact, keys);

    EXPECT_THAT(request, StartsWith("GET /.well-known/backhand HTTP/1.1\r\nHost: 10.0.0.2:80\r\n"));
    EXPECT_THAT(request, HasSubstr("\r\nBackhand-Challenge: " + value + "\r\n"));
    EXPECT_THAT(request, HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_EQ(request.find("\r\n\r\n"), request.size() - 4);
}

// ---- the answer ----

struct AnAnswerToAChallenge : ChallengeTest {
    std::string text = answer_text(nonce, asked, answer, keys);
    std::string line = text.substr(0, text.size() - 1);

    std::optional<ChallengeAnswer> read(std::string_view said) const {
        return read_answer(said, nonce, asked, keys);
    }
};

TEST_F(AnAnswerToAChallenge, IsReadAsItWasGiven) {
    EXPECT_EQ(read(text), answer);
}

TEST_F(AnAnswerToAChallenge, IsOneLineOfEightWords) {
    const auto words = words_of(line);

    ASSERT_EQ(words.size(), 8U);
    EXPECT_EQ(words[0], "backhand");
    EXPECT_EQ(words[1], "1");
    EXPECT_EQ(words[2], std::to_string(keys.signing_id()));
    EXPECT_EQ(words[3], "18446744073709551615");
    EXPECT_EQ(words[4], "4711");
    EXPECT_EQ(words[5], "3");
    EXPECT_EQ(words[6], "4294967295");
    EXPECT_EQ(words[7].size(), 32U);
    EXPECT_EQ(text.find('\n'), text.size() - 1);
}

TEST_F(AnAnswerToAChallenge, IsForOneQuestionOnly) {
    EXPECT_FALSE(read_answer(text, make_nonce(), asked, keys));
}

TEST_F(AnAnswerToAChallenge, IsOfOneContactOnly) {
    const Challenged other_port{.contact = *Endpoint::parse("10.0.0.2:81"), .name = "web2"};
    const Challenged other_host{.contact = *Endpoint::parse("10.0.0.3:80"), .name = "web2"};

    EXPECT_FALSE(read_answer(text, nonce, other_port, keys));
    EXPECT_FALSE(read_answer(text, nonce, other_host, keys));
}

TEST_F(AnAnswerToAChallenge, IsOfOneServerOnly) {
    for (const char* name : {"web3", "", "web22", "WEB2"}) {
        EXPECT_FALSE(read_answer(text, nonce, {.contact = contact, .name = name}, keys)) << name;
    }
}

TEST_F(AnAnswerToAChallenge, IsRefusedWithAnotherKey) {
    EXPECT_FALSE(read_answer(text, nonce, asked, ring_of({new_secret})));
}

TEST_F(AnAnswerToAChallenge, IsReadWhileKeysAreChanged) {
    const KeyRing next_is_second = ring_of({old_secret, new_secret});
    const KeyRing next_is_first = ring_of({new_secret, old_secret});

    EXPECT_EQ(read_answer(text, nonce, asked, next_is_second), answer);
    EXPECT_EQ(read_answer(text, nonce, asked, next_is_first), answer);
    EXPECT_EQ(
        read_answer(answer_text(nonce, asked, answer, next_is_first), nonce, asked, next_is_second),
        answer);
}

TEST_F(AnAnswerToAChallenge, IsRefusedWhicheverWordIsAnother) {
    for (std::size_t index = 0; index < 8; ++index) {
        auto words = words_of(line);
        words[index] = altered(words[index]);
        EXPECT_FALSE(read(line_of(words) + '\n')) << index;
    }
}

TEST_F(AnAnswerToAChallenge, IsRefusedWhicheverBitIsFlipped) {
    for (std::size_t offset = 0; offset < text.size(); ++offset) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            std::string changed = text;
            changed[offset] = static_cast<char>(changed[offset] ^ static_cast<char>(1U << bit));
            const bool is_number = offset >= std::string_view{"backhand 1 "}.size();
            EXPECT_EQ(read(changed).has_value(),
                      is_number && is_same_digit(text[offset], changed[offset]))
                << offset << " " << changed;
        }
    }
}

TEST_F(AnAnswerToAChallenge, IsRefusedWhereverItIsCut) {
    for (std::size_t size = 0; size < line.size(); ++size) {
        EXPECT_FALSE(read(line.substr(0, size))) << size;
        EXPECT_FALSE(read(line.substr(0, size) + '\n')) << size;
    }
    EXPECT_FALSE(read(line));
}

TEST_F(AnAnswerToAChallenge, IsRefusedWithAWordMissing) {
    for (std::size_t index = 0; index < 8; ++index) {
        auto words = words_of(line);
        words.erase(words.begin() + static_cast<std::ptrdiff_t>(index));
        EXPECT_FALSE(read(line_of(words) + '\n')) << index;
    }
    for (const char* few : {"", "\n", " \n", "backhand 1\n", "backhand 1 \n", "backhand\n"}) {
        EXPECT_FALSE(read(few));
    }
}

TEST_F(AnAnswerToAChallenge, IsRefusedWithAnythingMore) {
    for (const char* more : {"\n", "\r\n", " ", "0\n", " 0\n", "x"}) {
        EXPECT_FALSE(read(text + more));
        EXPECT_FALSE(read(line + more + '\n'));
        EXPECT_FALSE(read(more + text));
    }
    EXPECT_FALSE(read(line + std::string(100'000, 'f') + '\n'));
    EXPECT_FALSE(read("backhand 1" + std::string(100'000, ' ') + '\n'));
    EXPECT_FALSE(read("backhand 1 " + std::string(100'000, '9') + line.substr(10) + '\n'));
}

TEST_F(AnAnswerToAChallenge, IsRefusedWithNumbersThatDoNotFit) {
    for (std::size_t index = 2; index < 7; ++index) {
        for (const char* number : {"18446744073709551616", "-1", "+1", "0x1", "1.0", ""}) {
            auto words = words_of(line);
            words[index] = number;
            EXPECT_FALSE(read(line_of(words) + '\n')) << index << " " << number;
        }
    }
}

TEST_F(AnAnswerToAChallenge, IsRefusedWithTheQuestionsTag) {
    auto words = words_of(line);
    words[7] = words_of(challenge_value(nonce, contact, keys))[2];

    EXPECT_FALSE(read(line_of(words) + '\n'));
}

// A member that is asked by an attacker for another server's contact signs nothing for it.
TEST_F(AnAnswerToAChallenge, CannotBeHadFromAnotherMember) {
    const Challenged other{.contact = *Endpoint::parse("10.0.0.3:80"), .name = "web3"};

    EXPECT_FALSE(read(answer_text(nonce, other, answer, keys)));
}

}  // namespace
}  // namespace backhand
