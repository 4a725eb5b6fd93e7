#include "moderator/boot_id.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace backhand {
namespace {

class ABootId : public ::testing::Test {
protected:
    const TemporaryFolder folder_;
    const std::string& directory_ = folder_.path();
};

TEST_F(ABootId, RisesWithEveryStart) {
    const BootId first = next_boot_id(directory_);
    const BootId second = next_boot_id(directory_);

    EXPECT_GT(second.value, first.value);
    EXPECT_EQ(first.trouble, "");
}

TEST_F(ABootId, RisesEvenIfTheClockWasSetBack) {
    constexpr std::uint64_t far_future = 9'000'000'000'000;
    std::ofstream{directory_ + "/boot_id"} << far_future << '\n';

    EXPECT_EQ(next_boot_id(directory_).value, far_future + 1);
}

TEST_F(ABootId, IsTheClocksWhenTheFileIsGarbled) {
    std::ofstream{directory_ + "/boot_id"} << "not a number\n";

    EXPECT_GT(next_boot_id(directory_).value, 1'700'000'000'000U);
}

TEST_F(ABootId, SaysSoWhenItCannotBeKept) {
    const BootId boot = next_boot_id(directory_ + "/missing");

    EXPECT_GT(boot.value, 1'700'000'000'000U);
    EXPECT_NE(boot.trouble, "");
}

}  // namespace
}  // namespace backhand
