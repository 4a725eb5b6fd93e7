// Keys: which files are taken, and what a tag proves.
#include "announce/key_ring.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "temporary_folder.h"

namespace backhand {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// In every secret that an error could quote.
constexpr std::string_view telltale = "s3cr3t";

const std::string old_secret = "s3cr3t-0123456789abcdef0123456789abcdef";
const std::string new_secret = "s3cr3t-fedcba9876543210fedcba9876543210";

std::span<const std::uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string hex(std::span<const std::uint8_t> bytes) {
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += "0123456789abcdef"[byte >> 4U];
        text += "0123456789abcdef"[byte & 0xFU];
    }
    return text;
}

std::string hmac_hex(std::string_view key, std::string_view message) {
    return hex(hmac_sha256(bytes_of(key), bytes_of(message)));
}

KeyRing ring_of(std::vector<std::string> secrets) {
    auto ring = KeyRing::from_secrets(std::move(secrets));
    EXPECT_TRUE(ring) << (ring ? "" : ring.error().detail);
    return std::move(*ring);
}

std::string trouble_with(std::vector<std::string> secrets) {
    const auto ring = KeyRing::from_secrets(std::move(secrets));
    return ring ? "" : ring.error().detail;
}

Verdict shown_to(const KeyRing& receiver, const KeyRing& sender, KeyPurpose purpose) {
    const auto message = bytes_of("load 3");
    return receiver.verify(purpose, sender.signing_id(), message, sender.sign(purpose, message));
}

// ---- HMAC-SHA-256: the test cases of RFC 4231 section 4 ----

TEST(AnHmac, IsThatOfTestCase1) {
    EXPECT_EQ(hmac_hex(std::string(20, '\x0b'), "Hi There"),
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

TEST(AnHmac, IsThatOfTestCase2WithAShortKey) {
    EXPECT_EQ(hmac_hex("Jefe", "what do ya want for nothing?"),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(AnHmac, IsThatOfTestCase3) {
    EXPECT_EQ(hmac_hex(std::string(20, '\xaa'), std::string(50, '\xdd')),
              "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
}

TEST(AnHmac, IsThatOfTestCase4) {
    std::string key;
    for (char byte = 1; byte <= 25; ++byte) {
        key += byte;
    }

    EXPECT_EQ(hmac_hex(key, std::string(50, '\xcd')),
              "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
}

TEST(AnHmac, BeginsAsTestCase5WhichIsCutTo16Bytes) {
    EXPECT_THAT(hmac_hex(std::string(20, '\x0c'), "Test With Truncation"),
                StartsWith("a3b6167473100ee06e0c796c2955552b"));
}

TEST(AnHmac, IsThatOfTestCase6WithAKeyLongerThanABlock) {
    EXPECT_EQ(hmac_hex(std::string(131, '\xaa'),
                       "Test Using Larger Than Block-Size Key - Hash Key First"),
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(AnHmac, IsThatOfTestCase7WithKeyAndMessageLongerThanABlock) {
    EXPECT_EQ(hmac_hex(std::string(131, '\xaa'),
                       "This is a test using a larger than block-size key and a larger than "
                       "block-size data. The key needs to be hashed before being used by the HMAC "
                       "algorithm."),
              "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

// ---- signing and verifying ----

// Computed by another implementation: what servers of any version must agree on.
TEST(ATag, IsTheSameInEveryVersion) {
    const KeyRing ring = ring_of({old_secret});

    EXPECT_EQ(ring.signing_id(), 33);
    EXPECT_EQ(hex(ring.sign(KeyPurpose::announcement, bytes_of("hello"))),
              "f19bceeb38fc8c1e1458a9fac0b174cb");
    EXPECT_EQ(hex(ring.sign(KeyPurpose::challenge, bytes_of("hello"))),
              "11b317d0d44a9141eb76e89bb68a9a20");
    EXPECT_EQ(hex(ring.sign(KeyPurpose::request, bytes_of("hello"))),
              "89865c304daa6a6dd9e8ec055c53fd06");
    EXPECT_EQ(hex(ring.sign(KeyPurpose::probe, bytes_of("hello"))),
              "2da84b1a854c1f4e346a79834097f76f");
}

TEST(ATag, IsTheCutHmacUnderAKeyDerivedForThePurpose) {
    const auto derived = hmac_sha256(bytes_of(new_secret), bytes_of("backhand request 1"));
    const auto whole = hmac_sha256(derived, bytes_of("message"));

    const Tag tag = ring_of({new_secret}).sign(KeyPurpose::request, bytes_of("message"));

    EXPECT_EQ(hex(tag), hex(whole).substr(0, 2 * tag_bytes));
}

TEST(ATag, IsGoodForWhoHoldsTheKey) {
    EXPECT_EQ(shown_to(ring_of({old_secret}), ring_of({old_secret}), KeyPurpose::request),
              Verdict::good);
}

TEST(ATag, IsGoodForAnEmptyMessage) {
    const KeyRing ring = ring_of({old_secret});
    const Tag tag = ring.sign(KeyPurpose::request, {});

    EXPECT_EQ(ring.verify(KeyPurpose::request, ring.signing_id(), {}, tag), Verdict::good);
}

TEST(ATag, IsOfAnUnknownKeyForWhoHoldsAnother) {
    const KeyRing stranger = ring_of({new_secret});
    ASSERT_NE(stranger.signing_id(), ring_of({old_secret}).signing_id());

    EXPECT_EQ(shown_to(ring_of({old_secret}), stranger, KeyPurpose::announcement),
              Verdict::unknown_key);
}

TEST(ATag, IsOfAnUnknownKeyWithTheIdOfUnsignedDatagrams) {
    const KeyRing ring = ring_of({old_secret});
    const Tag tag = ring.sign(KeyPurpose::announcement, bytes_of("load 3"));

    EXPECT_EQ(ring.verify(KeyPurpose::announcement, 0, bytes_of("load 3"), tag),
              Verdict::unknown_key);
}

TEST(ATag, IsForgedForAnyOtherMessage) {
    const KeyRing ring = ring_of({old_secret});
    const Tag tag = ring.sign(KeyPurpose::announcement, bytes_of("load 3"));

    const auto verdict = [&](std::string_view message) {
        return ring.verify(KeyPurpose::announcement, ring.signing_id(), bytes_of(message), tag);
    };
    EXPECT_EQ(verdict("load 4"), Verdict::forged);
    EXPECT_EQ(verdict("load 3 "), Verdict::forged);
    EXPECT_EQ(verdict("load "), Verdict::forged);
    EXPECT_EQ(verdict(""), Verdict::forged);
}

TEST(ATag, IsForgedWithAnyBitChanged) {
    const KeyRing ring = ring_of({old_secret});
    const Tag tag = ring.sign(KeyPurpose::announcement, bytes_of("load 3"));

    for (std::size_t bit = 0; bit < 8 * tag.size(); ++bit) {
        Tag changed = tag;
        changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
        EXPECT_EQ(
            ring.verify(KeyPurpose::announcement, ring.signing_id(), bytes_of("load 3"), changed),
            Verdict::forged)
            << "bit " << bit;
    }
}

TEST(ATag, IsForgedIfItIsTruncatedOrExtended) {
    const KeyRing ring = ring_of({old_secret});
    const Tag tag = ring.sign(KeyPurpose::announcement, bytes_of("load 3"));
    std::vector<std::uint8_t> longer{tag.begin(), tag.end()};
    longer.push_back(0);

    const auto verdict = [&](std::span<const std::uint8_t> shown) {
        return ring.verify(KeyPurpose::announcement, ring.signing_id(), bytes_of("load 3"), shown);
    };
    EXPECT_EQ(verdict({}), Verdict::forged);
    EXPECT_EQ(verdict(std::span{tag}.first(1)), Verdict::forged);
    EXPECT_EQ(verdict(std::span{tag}.first(15)), Verdict::forged);
    EXPECT_EQ(verdict(longer), Verdict::forged);
    EXPECT_EQ(verdict(tag), Verdict::good);
}

TEST(ATag, IsForgedForEveryPurposeButItsOwn) {
    const KeyRing ring = ring_of({old_secret});
    const auto message = bytes_of("load 3");
    const auto shown_as = [&](KeyPurpose shown, KeyPurpose signed_as) {
        return ring.verify(shown, ring.signing_id(), message, ring.sign(signed_as, message));
    };
    using enum KeyPurpose;

    for (const KeyPurpose shown : {announcement, challenge, request, probe}) {
        for (const KeyPurpose signed_as : {announcement, challenge, request, probe}) {
            EXPECT_EQ(shown_as(shown, signed_as),
                      shown == signed_as ? Verdict::good : Verdict::forged);
        }
    }
}

TEST(ATag, IsNeverThatOfTheSecretItself) {
    const auto direct = hmac_sha256(bytes_of(old_secret), bytes_of("load 3"));
    const KeyRing ring = ring_of({old_secret});

    EXPECT_EQ(ring.verify(KeyPurpose::announcement, ring.signing_id(), bytes_of("load 3"),
                          std::span{direct}.first(tag_bytes)),
              Verdict::forged);
}

// ---- more than one key ----

TEST(ARotation, LetsEveryServerVerifyEveryOtherAtEachStep) {
    const KeyRing before = ring_of({old_secret});
    const KeyRing added = ring_of({old_secret, new_secret});
    const KeyRing swapped = ring_of({new_secret, old_secret});
    const KeyRing after = ring_of({new_secret});

    const auto understand_one_another = [](const KeyRing& one, const KeyRing& other) {
        return shown_to(one, other, KeyPurpose::announcement) == Verdict::good &&
               shown_to(other, one, KeyPurpose::announcement) == Verdict::good;
    };
    EXPECT_TRUE(understand_one_another(before, added));
    EXPECT_TRUE(understand_one_another(added, swapped));
    EXPECT_TRUE(understand_one_another(swapped, after));
    EXPECT_FALSE(understand_one_another(before, after));
}

TEST(ARotation, SignsWithTheFirstKey) {
    EXPECT_EQ(ring_of({old_secret, new_secret}).signing_id(), ring_of({old_secret}).signing_id());
    EXPECT_EQ(ring_of({new_secret, old_secret}).signing_id(), ring_of({new_secret}).signing_id());
}

std::string numbered_secret(int number) {
    return old_secret + std::to_string(number);
}

TEST(AKeyId, IsNeverTheOneOfUnsignedDatagrams) {
    int zeros_count = 0;
    for (int number = 0; number < 2'000; ++number) {
        const auto digest =
            hmac_sha256(bytes_of(numbered_secret(number)), bytes_of("backhand key id 1"));
        zeros_count += digest[0] == 0 ? 1 : 0;
        EXPECT_EQ(ring_of({numbered_secret(number)}).signing_id(), std::max<int>(digest[0], 1));
    }

    EXPECT_GT(zeros_count, 0) << "the case was not met";
}

TEST(AKeyId, MayBeThatOfTwoKeysOfOneRing) {
    std::map<std::uint8_t, int> number_by_id;
    int number = 0;
    std::uint8_t id = ring_of({numbered_secret(number)}).signing_id();
    while (number_by_id.emplace(id, number).second) {
        id = ring_of({numbered_secret(++number)}).signing_id();
    }
    const std::string one = numbered_secret(number_by_id[id]);
    const std::string other = numbered_secret(number);

    const KeyRing both = ring_of({one, other});

    EXPECT_EQ(shown_to(both, ring_of({one}), KeyPurpose::request), Verdict::good);
    EXPECT_EQ(shown_to(both, ring_of({other}), KeyPurpose::request), Verdict::good);
    EXPECT_EQ(both.verify(KeyPurpose::request, id, bytes_of("load 3"), Tag{}), Verdict::forged);
    EXPECT_EQ(shown_to(ring_of({one}), ring_of({other}), KeyPurpose::request), Verdict::forged);
}

TEST(AKeyRing, TakesEightKeysAndNoMore) {
    std::vector<std::string> secrets;
    for (int number = 0; number < 8; ++number) {
        secrets.push_back(numbered_secret(number));
    }
    EXPECT_EQ(trouble_with(secrets), "");

    secrets.push_back(numbered_secret(8));
    EXPECT_EQ(trouble_with(secrets), "9 keys: expected 1 to 8");
    EXPECT_EQ(trouble_with({}), "0 keys: expected 1 to 8");
}

TEST(AKeyRing, TakesNoKeyTwice) {
    EXPECT_EQ(trouble_with({old_secret, new_secret, old_secret + "\n"}),
              "secret 1 and secret 3 hold the same key: expected another in each");
}

TEST(AKeyRing, WorksAfterItHasMoved) {
    KeyRing first = ring_of({old_secret});
    KeyRing second{std::move(first)};
    KeyRing third = ring_of({new_secret});
    third = std::move(second);

    EXPECT_EQ(shown_to(third, ring_of({old_secret}), KeyPurpose::request), Verdict::good);
    EXPECT_EQ(shown_to(ring_of({old_secret}), third, KeyPurpose::request), Verdict::good);
}

TEST(AKeyRing, SignsAndVerifiesInManyThreadsAtOnce) {
    constexpr int threads_count = 8;
    constexpr int rounds = 500;
    const KeyRing ring = ring_of({old_secret, new_secret});
    std::atomic<int> good_count{0};

    std::vector<std::thread> threads;
    for (int thread = 0; thread < threads_count; ++thread) {
        threads.emplace_back([&, thread] {
            for (int round = 0; round < rounds; ++round) {
                const std::string message = std::to_string(thread * rounds + round);
                const Tag tag = ring.sign(KeyPurpose::request, bytes_of(message));
                const Verdict verdict =
                    ring.verify(KeyPurpose::request, ring.signing_id(), bytes_of(message), tag);
                good_count += verdict == Verdict::good ? 1 : 0;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }

    EXPECT_EQ(good_count, threads_count * rounds);
}

TEST(AKeyRing, WorksInAProcessForkedAfterItWasMade) {
    const KeyRing ring = ring_of({old_secret});
    const Tag expected = ring.sign(KeyPurpose::request, bytes_of("load 3"));

    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(ring.sign(KeyPurpose::request, bytes_of("load 3")) == expected ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);

    EXPECT_EQ(status, 0);
    EXPECT_EQ(ring.sign(KeyPurpose::request, bytes_of("load 3")), expected);
}

// ---- files ----

class AKeyFile : public ::testing::Test {
protected:
    static void write(const std::string& path, const std::string& content) {
        std::ofstream{path} << content;
        ::chmod(path.c_str(), 0600);
    }

    // What load() says of the files; it never quotes them.
    static std::string trouble(const std::vector<std::string>& files) {
        const auto ring = KeyRing::load(files, ::geteuid());
        const std::string detail = ring ? "" : ring.error().detail;
        EXPECT_THAT(detail, Not(HasSubstr(std::string{telltale})));
        return detail;
    }

    std::string trouble() const { return trouble({path_}); }

    // ... of a file with this content.
    std::string trouble_with(const std::string& content) const {
        write(path_, content);
        return trouble();
    }

    const TemporaryFolder temporary_;
    const std::string& folder_ = temporary_.path();
    const std::string path_ = folder_ + "/key";
};

// What every complaint about a file's content ends with.
constexpr const char* right_content =
    ": expected one line of 32 to 4096 printable characters, as made by: openssl rand -hex 32";

TEST_F(AKeyFile, HoldsTheKeyWithOrWithoutTheEndOfTheLine) {
    const std::string other = folder_ + "/other";
    write(path_, old_secret + "\n");
    write(other, old_secret);

    const auto with = KeyRing::load(std::vector{path_}, ::geteuid());
    const auto without = KeyRing::load(std::vector{other}, ::geteuid());

    ASSERT_TRUE(with && without);
    EXPECT_EQ(shown_to(*with, ring_of({old_secret}), KeyPurpose::request), Verdict::good);
    EXPECT_EQ(shown_to(*without, ring_of({old_secret}), KeyPurpose::request), Verdict::good);
}

TEST_F(AKeyFile, SignsIfItIsTheFirstAndVerifiesAnyway) {
    const std::string next = folder_ + "/key.next";
    write(path_, old_secret + "\n");
    write(next, new_secret + "\n");

    const auto ring = KeyRing::load(std::vector{path_, next}, ::geteuid());

    ASSERT_TRUE(ring);
    EXPECT_EQ(ring->signing_id(), ring_of({old_secret}).signing_id());
    EXPECT_EQ(shown_to(*ring, ring_of({new_secret}), KeyPurpose::request), Verdict::good);
}

TEST_F(AKeyFile, MustExist) {
    EXPECT_EQ(trouble(), path_ +
                             ": No such file or directory; a key is made by: "
                             "(umask 077; openssl rand -hex 32 > " +
                             path_ + ")");
}

TEST_F(AKeyFile, IsNamedByAnAbsolutePath) {
    EXPECT_EQ(trouble({"conf/key"}), "\"conf/key\": expected the absolute path of a file");
}

TEST_F(AKeyFile, IsNoLink) {
    write(folder_ + "/real", old_secret);
    std::filesystem::create_symlink("real", path_);

    EXPECT_EQ(trouble(), path_ + " is a symbolic link: expected the file itself");
}

TEST_F(AKeyFile, IsNoFifo) {
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);

    EXPECT_EQ(trouble(), path_ + " is not a regular file");
}

TEST_F(AKeyFile, IsNoFolder) {
    std::filesystem::create_directory(path_);

    EXPECT_EQ(trouble(), path_ + " is not a regular file");
}

TEST_F(AKeyFile, IsReadableByItsOwnerOnly) {
    write(path_, old_secret);
    ::chmod(path_.c_str(), 0640);

    EXPECT_THAT(trouble(), AllOf(StartsWith(path_), HasSubstr("expected a file that only its owner "
                                                              "can read: chmod 600 " +
                                                              path_)));
}

TEST_F(AKeyFile, IsNotSomebodyElses) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root can give a file away";
    }
    write(path_, old_secret);
    ASSERT_EQ(::chown(path_.c_str(), 4711, 0), 0);

    EXPECT_EQ(trouble(), path_ + " belongs to user 4711: expected it to belong to root");
}

TEST_F(AKeyFile, LiesInNoFolderThatOthersCanWrite) {
    write(path_, old_secret);
    ::chmod(folder_.c_str(), 0770);

    EXPECT_EQ(trouble(), path_ + ": " + folder_ +
                             " can be changed by others than its owner: chmod go-w " + folder_);
}

TEST_F(AKeyFile, IsNotEmpty) {
    EXPECT_EQ(trouble_with(""), path_ + " is empty" + right_content);
    EXPECT_EQ(trouble_with("\n"), path_ + " is empty" + right_content);
}

TEST_F(AKeyFile, IsNotShort) {
    const std::string just_long_enough = old_secret.substr(0, 32);

    EXPECT_EQ(trouble_with(just_long_enough + "\n"), "");
    EXPECT_EQ(trouble_with(old_secret.substr(0, 31) + "\n"),
              path_ + " is shorter than 32 bytes" + right_content);
}

TEST_F(AKeyFile, IsNotLong) {
    const auto long_secret = [](std::size_t size) {
        return old_secret + std::string(size - old_secret.size(), 'x');
    };

    EXPECT_EQ(trouble_with(long_secret(4096) + "\n"), "");
    EXPECT_EQ(trouble_with(long_secret(4097)),
              path_ + " is longer than 4096 bytes" + right_content);
    EXPECT_EQ(trouble_with(long_secret(4097) + "\n"),
              path_ + " is longer than 4096 bytes" + right_content);
    EXPECT_EQ(trouble_with(long_secret(100'000)),
              path_ + " is longer than 4096 bytes" + right_content);
}

TEST_F(AKeyFile, IsText) {
    const std::string expected =
        path_ + " has a byte that is no printable ASCII character" + right_content;

    EXPECT_EQ(trouble_with(old_secret + '\0'), expected);
    EXPECT_EQ(trouble_with('\0' + old_secret), expected);
    EXPECT_EQ(trouble_with(old_secret + "\ttab"), expected);
    EXPECT_EQ(trouble_with(old_secret + "\x7f"), expected);
    EXPECT_EQ(trouble_with("\xef\xbb\xbf" + old_secret), expected);
}

TEST_F(AKeyFile, IsOneLine) {
    const std::string expected = path_ + " has more than one line" + right_content;

    EXPECT_EQ(trouble_with(old_secret + "\n" + new_secret + "\n"), expected);
    EXPECT_EQ(trouble_with(old_secret + "\n\n"), expected);
    EXPECT_EQ(trouble_with("\n" + old_secret + "\n"), expected);
}

TEST_F(AKeyFile, EndsItsLineAsUnixDoes) {
    EXPECT_EQ(trouble_with(old_secret + "\r\n"),
              path_ + " has a carriage return, as Windows ends lines with" + right_content);
}

TEST_F(AKeyFile, HasNoBlanksThatNobodySees) {
    const std::string expected = path_ + " begins or ends with a blank" + right_content;

    EXPECT_EQ(trouble_with(old_secret + " \n"), expected);
    EXPECT_EQ(trouble_with(" " + old_secret + "\n"), expected);
    EXPECT_EQ(trouble_with(old_secret + " and more words\n"), "");
}

TEST_F(AKeyFile, HoldsAKeyThatNoOtherHolds) {
    const std::string copy = folder_ + "/copy";
    write(path_, old_secret + "\n");
    write(copy, old_secret);

    EXPECT_EQ(trouble({path_, copy}),
              path_ + " and " + copy + " hold the same key: expected another in each");
    EXPECT_EQ(trouble({path_, path_}),
              path_ + " and " + path_ + " hold the same key: expected another in each");
}

TEST_F(AKeyFile, IsOneOfEightAtMost) {
    write(path_, old_secret);

    EXPECT_EQ(trouble(std::vector<std::string>(9, path_)), "9 keys: expected 1 to 8");
    EXPECT_EQ(trouble(std::vector<std::string>{}), "0 keys: expected 1 to 8");
}

TEST_F(AKeyFile, IsJudgedByTheKindOfItsError) {
    const auto kind = [&] { return KeyRing::load(std::vector{path_}, ::geteuid()).error().kind; };

    EXPECT_EQ(kind(), Error::Kind::system);
    write(path_, "short");
    EXPECT_EQ(kind(), Error::Kind::malformed);
    ::chmod(path_.c_str(), 0644);
    EXPECT_EQ(kind(), Error::Kind::refused);
}

}  // namespace
}  // namespace backhand
