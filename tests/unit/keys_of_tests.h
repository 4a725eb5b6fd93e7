// Keys for tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "announce/key_ring.h"

namespace backhand {

inline const std::string old_secret = "0123456789abcdef0123456789abcdef-old";
inline const std::string new_secret = "0123456789abcdef0123456789abcdef-new";

inline KeyRing ring_of(std::vector<std::string> secrets) {
    auto ring = KeyRing::from_secrets(std::move(secrets));
    EXPECT_TRUE(ring) << (ring ? "" : ring.error().detail);
    return std::move(*ring);
}

}  // namespace backhand
