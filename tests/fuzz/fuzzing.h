// What the fuzzers share.
#pragma once

#include <cstdlib>

namespace backhand {

// What must hold for every input: the fuzzer keeps the one for which it does not.
inline void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

}  // namespace backhand
