// Which files are believed, by who could have written them or put others in their place.
#include "base/trusted_file.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "temporary_folder.h"

namespace backhand {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uid_t somebody = 4711;

class ATrustedFile : public ::testing::Test {
protected:
    std::string make_folder(const std::string& name, mode_t mode = 0755) const {
        const std::string path = folder_ + "/" + name;
        std::filesystem::create_directory(path);
        ::chmod(path.c_str(), mode);
        return path;
    }

    std::string make_file(const std::string& name, mode_t mode = 0600) const {
        const std::string path = folder_ + "/" + name;
        std::ofstream{path} << "content\n";
        ::chmod(path.c_str(), mode);
        return path;
    }

    std::string make_link(const std::string& name, const std::string& target) const {
        const std::string path = folder_ + "/" + name;
        std::filesystem::create_symlink(target, path);
        return path;
    }

    // What is wrong with the file, if all who must be trusted are root and whom the test runs as.
    static std::string trouble(const std::string& path) {
        const Status trusted = check_trusted_file(path, ::geteuid());
        return trusted ? "" : trusted.error().detail;
    }

    // The same for a file that nobody else may read.
    static std::string secret_trouble(const std::string& path) {
        const auto opened = open_secret_file(path, ::geteuid());
        return opened ? "" : opened.error().detail;
    }

    // The same for code.
    static std::string code_trouble(const std::string& path) {
        const auto opened = open_code_file(path, ::geteuid());
        return opened ? "" : opened.error().detail;
    }

    const TemporaryFolder temporary_;
    const std::string& folder_ = temporary_.path();
};

TEST_F(ATrustedFile, IsOneThatOnlyItsOwnerCanWrite) {
    EXPECT_EQ(trouble(make_file("plugin", 0644)), "");
}

TEST_F(ATrustedFile, IsNotOneThatItsGroupCanWrite) {
    const std::string file = make_file("plugin", 0664);

    EXPECT_EQ(trouble(file), file + " can be changed by others than its owner: chmod go-w " + file);
}

TEST_F(ATrustedFile, IsNotOneThatEverybodyCanWrite) {
    EXPECT_THAT(trouble(make_file("plugin", 0646)), HasSubstr("chmod go-w"));
}

TEST_F(ATrustedFile, IsNotOneInAFolderThatOthersCanWrite) {
    const std::string open = make_folder("open", 0775);
    const std::string file = make_file("open/plugin");

    EXPECT_EQ(trouble(file),
              file + ": " + open + " can be changed by others than its owner: chmod go-w " + open);
}

TEST_F(ATrustedFile, IsNotOneUnderAFolderThatOthersCanWrite) {
    make_folder("open", 0777);
    make_folder("open/closed");

    EXPECT_THAT(trouble(make_file("open/closed/plugin")), HasSubstr(folder_ + "/open can"));
}

TEST_F(ATrustedFile, MayLieInAStickyFolder) {
    make_folder("sticky", 01777);

    EXPECT_EQ(trouble(make_file("sticky/plugin")), "");
}

TEST_F(ATrustedFile, IsNotSomebodyElses) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root can give a file away";
    }
    const std::string file = make_file("plugin");
    ASSERT_EQ(::chown(file.c_str(), somebody, 0), 0);

    EXPECT_EQ(trouble(file), file + " belongs to user 4711: expected it to belong to root");
}

TEST_F(ATrustedFile, MayBelongToWhomTheServerRunsAs) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root can give a file away";
    }
    const std::string file = make_file("plugin");
    ASSERT_EQ(::chown(file.c_str(), somebody, 0), 0);

    EXPECT_TRUE(check_trusted_file(file, somebody));
}

TEST_F(ATrustedFile, IsNotOneInSomebodyElsesFolder) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root can give a folder away";
    }
    const std::string folder = make_folder("theirs");
    const std::string file = make_file("theirs/plugin");
    ASSERT_EQ(::chown(folder.c_str(), somebody, 0), 0);

    EXPECT_THAT(trouble(file), HasSubstr(folder + " belongs to user 4711"));
}

TEST_F(ATrustedFile, IsNotBehindALinkThatSomebodyElseMade) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root can give a link away";
    }
    make_folder("sticky", 01777);
    make_file("plugin");
    const std::string link = make_link("sticky/link", "../plugin");
    ASSERT_EQ(::lchown(link.c_str(), somebody, 0), 0);

    EXPECT_THAT(trouble(link), HasSubstr(link + " belongs to user 4711"));
}

TEST_F(ATrustedFile, MayLieBehindLinks) {
    make_folder("real");
    make_file("real/plugin");
    make_link("absolute", folder_ + "/real/");
    make_link("relative", "./real");
    make_link("upwards", "real/../real/../real/plugin");
    make_link("twice", "upwards");

    EXPECT_EQ(trouble(folder_ + "/absolute/plugin"), "");
    EXPECT_EQ(trouble(folder_ + "//relative/./plugin"), "");
    EXPECT_EQ(trouble(folder_ + "/upwards"), "");
    EXPECT_EQ(trouble(folder_ + "/twice"), "");
}

TEST_F(ATrustedFile, IsNotWhereALinkLeadsThroughAFolderThatOthersCanWrite) {
    make_folder("open", 0777);
    make_folder("open/closed");
    make_file("open/closed/plugin");
    make_link("link", folder_ + "/open/closed");

    EXPECT_THAT(trouble(folder_ + "/link/plugin"), HasSubstr(folder_ + "/open can be changed"));
}

TEST_F(ATrustedFile, IsNotLookedForInACircle) {
    make_link("one", "two");
    make_link("two", "one");

    EXPECT_THAT(trouble(folder_ + "/one"), HasSubstr("symbolic links"));
}

TEST_F(ATrustedFile, MustExist) {
    EXPECT_EQ(trouble(folder_ + "/missing"), folder_ + "/missing: No such file or directory");
    EXPECT_EQ(trouble(make_link("dangling", "nothing")),
              folder_ + "/dangling: " + folder_ + "/nothing: No such file or directory");
    EXPECT_THAT(trouble(make_file("file") + "/plugin"), HasSubstr("Not a directory"));
}

TEST_F(ATrustedFile, IsNamedByAnAbsolutePath) {
    EXPECT_EQ(trouble("plugin"), "\"plugin\": expected the absolute path of a file");
    EXPECT_THAT(trouble(""), HasSubstr("expected the absolute path of a file"));
    EXPECT_THAT(trouble("/"), HasSubstr("expected the absolute path of a file"));
    EXPECT_THAT(secret_trouble("plugin"), HasSubstr("expected the absolute path of a file"));
}

using ASecretFile = ATrustedFile;

TEST_F(ASecretFile, IsOpenedForReadingAndNotInheritedByPrograms) {
    const auto opened = open_secret_file(make_file("key"), ::geteuid());

    ASSERT_TRUE(opened);
    char first = 0;
    EXPECT_EQ(::read(opened->get(), &first, 1), 1);
    EXPECT_EQ(first, 'c');
    EXPECT_EQ(::fcntl(opened->get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(ASecretFile, MayBeReadOnlyForItsOwner) {
    EXPECT_EQ(secret_trouble(make_file("key", 0400)), "");
}

TEST_F(ASecretFile, IsNotOneThatOthersCanRead) {
    const std::string file = make_file("key", 0640);

    EXPECT_THAT(secret_trouble(file),
                AllOf(StartsWith(file), HasSubstr("only its owner can read: chmod 600 " + file)));
    EXPECT_THAT(secret_trouble(make_file("key", 0604)), HasSubstr("chmod 600"));
}

TEST_F(ASecretFile, IsNotALink) {
    make_file("key");

    EXPECT_THAT(secret_trouble(make_link("link", "key")), HasSubstr("is a symbolic link"));
}

TEST_F(ASecretFile, MayLieInALinkedFolder) {
    make_folder("real");
    make_file("real/key");
    make_link("link", "real");

    EXPECT_EQ(secret_trouble(folder_ + "/link/key"), "");
}

TEST_F(ASecretFile, IsNotAFifoAndIsNotWaitedFor) {
    const std::string fifo = folder_ + "/fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);

    EXPECT_EQ(secret_trouble(fifo), fifo + " is not a regular file");
}

TEST_F(ASecretFile, IsNotAFolder) {
    EXPECT_THAT(secret_trouble(make_folder("folder", 0700)), HasSubstr("is not a regular file"));
    EXPECT_THAT(secret_trouble("/."), HasSubstr("is not a regular file"));
    EXPECT_THAT(secret_trouble("/.."), HasSubstr("is not a regular file"));
}

// The tests' own folder lies in a sticky directory, which is what code must not do.
TEST_F(ATrustedFile, OfCodeMustNotLieUnderAStickyDirectory) {
    EXPECT_THAT(code_trouble(make_file("plugin", 0644)), HasSubstr("can be changed by others"));
}

TEST_F(ATrustedFile, OfCodeIsOpenedThroughALinkToWhatWasJudged) {
    EXPECT_EQ(code_trouble("/bin/sh"), "");
}

TEST_F(ATrustedFile, OfCodeMustBeARegularFile) {
    EXPECT_THAT(code_trouble("/usr"), HasSubstr("is not a regular file"));
    EXPECT_THAT(code_trouble("/dev/null"),
                AnyOf(HasSubstr("is not a regular file"), HasSubstr("can be changed")));
    EXPECT_THAT(code_trouble("/usr/lib/no such file"), HasSubstr("No such file"));
}

}  // namespace
}  // namespace backhand
