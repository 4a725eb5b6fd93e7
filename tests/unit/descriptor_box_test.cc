// One open file for many processes, kept by the kernel.
#include "base/descriptor_box.h"

#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace backhand {
namespace {

UniqueFd file_of(const std::string& content) {
    char path[] = "/tmp/backhand-XXXXXX";
    UniqueFd file{::mkstemp(path)};
    ::unlink(path);
    EXPECT_EQ(::write(file.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    return file;
}

std::string content_of(const DescriptorBox& box) {
    const auto content = box.look();
    if (!content) {
        return "";
    }
    char buffer[64];
    const ssize_t size = ::pread(content->file.get(), buffer, sizeof buffer, 0);
    return {buffer, static_cast<std::size_t>(size)};
}

TEST(ADescriptorBox, IsEmptyAtFirst) {
    EXPECT_FALSE(DescriptorBox::make()->look());
}

TEST(ADescriptorBox, GivesEveryoneWhoLooksACopy) {
    const auto box = DescriptorBox::make();
    ASSERT_TRUE(box->put(file_of("first"), 1));

    EXPECT_EQ(content_of(*box), "first");
    EXPECT_EQ(content_of(*box), "first");
    EXPECT_EQ(box->look()->number, 1U);
}

TEST(ADescriptorBox, ShowsTheNextFileOnlyOnceItIsSettled) {
    const auto box = DescriptorBox::make();
    ASSERT_TRUE(box->put(file_of("first"), 1));
    ASSERT_TRUE(box->put(file_of("second"), 2));
    EXPECT_EQ(content_of(*box), "first");

    box->settle(2);

    EXPECT_EQ(content_of(*box), "second");
    EXPECT_EQ(box->look()->number, 2U);
}

TEST(ADescriptorBox, ForgetsWhatWasPutInAndNeverSettled) {
    const auto box = DescriptorBox::make();
    ASSERT_TRUE(box->put(file_of("first"), 1));
    ASSERT_TRUE(box->put(file_of("abandoned"), 2));
    ASSERT_TRUE(box->put(file_of("third"), 3));

    box->settle(3);

    EXPECT_EQ(content_of(*box), "third");
}

TEST(ADescriptorBox, KeepsTheFileOfAProcessThatHasEnded) {
    auto box = DescriptorBox::make();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::_exit(box->put(file_of("from a child"), 1) ? 0 : 1);
    }
    int status = -1;
    ::waitpid(pid, &status, 0);
    ASSERT_EQ(status, 0);
    box->close_lid();

    EXPECT_EQ(content_of(*box), "from a child");
}

TEST(ADescriptorBox, TakesNothingOnceItsLidIsClosed) {
    auto box = DescriptorBox::make();
    box->close_lid();

    EXPECT_FALSE(box->put(file_of("late"), 1));
    EXPECT_FALSE(box->look());
}

}  // namespace
}  // namespace backhand
