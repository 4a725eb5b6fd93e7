#include "decide/pattern.h"

#include <array>
#include <cstddef>
#include <string>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace backhand {

namespace {

// Without captures there are no back-references, which are tried in every combination.
constexpr std::uint32_t options =
    PCRE2_NO_AUTO_CAPTURE | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP;

// All the memory that one match gets.  PCRE2 asks for 20 KiB to begin with and, if it has to go
// back over much, once more for twice as much; what it gives back is not used again.
// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): see bytes_.
class MatchMemory {
public:
    MatchMemory() = default;  // NOLINT(cppcoreguidelines-pro-type-member-init): likewise
    MatchMemory(const MatchMemory&) = delete;
    MatchMemory& operator=(const MatchMemory&) = delete;
    ~MatchMemory() = default;

    // nullptr: there is no more.
    static void* allocate(std::size_t bytes, void* memory) {
        auto& self = *static_cast<MatchMemory*>(memory);
        const std::size_t rounded =
            (bytes + alignof(std::max_align_t) - 1) & ~(alignof(std::max_align_t) - 1);
        if (rounded > self.bytes_.size() - self.used_) {
            return nullptr;
        }
        void* const given = self.bytes_.data() + self.used_;
        self.used_ += rounded;
        return given;
    }

    static void release(void*, void*) {}

private:
    // Not cleared: only what is used costs.
    alignas(std::max_align_t) std::array<std::byte, 65'536> bytes_;
    std::size_t used_ = 0;
};

std::string what_is_wrong(int failure, std::size_t offset) {
    std::array<PCRE2_UCHAR8, 256> reason{};
    ::pcre2_get_error_message_8(failure, reason.data(), reason.size());
    return std::string{reinterpret_cast<const char*>(reason.data())} + " at byte " +
           std::to_string(offset);
}

}  // namespace

Result<Pattern> Pattern::compile(std::string_view text, Case letters) {
    int failure = 0;
    PCRE2_SIZE offset = 0;
    Code code{::pcre2_compile_8(reinterpret_cast<PCRE2_SPTR8>(text.data()), text.size(),
                                options | (letters == Case::ignored ? PCRE2_CASELESS : 0U),
                                &failure, &offset, nullptr)};
    if (!code) {
        return Error{Error::Kind::malformed, what_is_wrong(failure, offset)};
    }
    return Pattern{std::move(code)};
}

bool Pattern::matches(std::string_view text) const {
    MatchMemory memory;
    auto* const from_memory =
        ::pcre2_general_context_create_8(&MatchMemory::allocate, &MatchMemory::release, &memory);
    auto* const match = ::pcre2_match_data_create_8(1, from_memory);
    auto* const limits = ::pcre2_match_context_create_8(from_memory);
    ::pcre2_set_match_limit_8(limits, steps_max);
    return ::pcre2_match_8(code_.get(),
                           reinterpret_cast<PCRE2_SPTR8>(text.empty() ? "" : text.data()),
                           text.size(), 0, 0, match, limits) >= 0;
}

void Pattern::Free::operator()(pcre2_real_code_8* code) const {
    ::pcre2_code_free_8(code);
}

}  // namespace backhand
