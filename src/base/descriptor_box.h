// DescriptorBox: one open file that many processes take copies of, kept by the kernel.
//
// Who starts later must get the very file that those before it got, although there may be another
// at its path by then, and although whoever opened it may have died.  So the descriptor lies in a
// message that nobody ever reads: in the queue of a UNIX socket, which all processes inherit.
// Looking at the message (MSG_PEEK) gives a copy of the descriptor and leaves the message there.
//
// Only who holds the lid can put something in.  One process at a time does; any may look.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"

namespace backhand {

class DescriptorBox {
public:
    struct Content {
        UniqueFd file;
        std::uint32_t number = 0;
    };

    static Result<DescriptorBox> make();

    // Puts a file in behind what is there; it is not seen before settle(number).
    // REQUIRES: the lid is not closed; `number` was never used before with this box.
    Status put(const UniqueFd& file, std::uint32_t number) const;

    // Takes out everything before `number`, which is there.
    void settle(std::uint32_t number) const;

    // A copy of what is in the box; nullopt if nothing is, or no descriptor is left for it.
    std::optional<Content> look() const;

    // This process will put nothing in.
    void close_lid() { lid_.reset(); }

private:
    DescriptorBox(UniqueFd lid, UniqueFd box) : lid_(std::move(lid)), box_(std::move(box)) {}

    std::optional<Content> receive(int flags) const;

    UniqueFd lid_;
    UniqueFd box_;
};

}  // namespace backhand
