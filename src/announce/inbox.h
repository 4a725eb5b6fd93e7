// DatagramInbox: what has arrived at a socket, fetched many at a time.
//
// One system call for up to `size` announcements.  Belongs to one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <sys/socket.h>

#include "announce/datagram.h"

namespace backhand {

class DatagramInbox {
public:
    static constexpr std::size_t size = 64;

    DatagramInbox();
    DatagramInbox(const DatagramInbox&) = delete;
    DatagramInbox& operator=(const DatagramInbox&) = delete;
    ~DatagramInbox() = default;

    // Fetches what is there, without waiting.  Returns how many; `size` means that there may be
    // more.  What was fetched before is gone.
    std::size_t fetch(int socket);

    // REQUIRES: index < what fetch() returned.
    std::span<const std::uint8_t> datagram(std::size_t index) const;

    const sockaddr_storage& sender(std::size_t index) const { return senders_[index]; }

private:
    // One byte more than any good datagram has, so that a longer one shows.
    static constexpr std::size_t room_bytes = datagram_bytes_max + 1;

    std::vector<std::uint8_t> bytes_;
    std::array<sockaddr_storage, size> senders_{};
    std::array<iovec, size> rooms_{};
    std::array<mmsghdr, size> messages_{};
};

}  // namespace backhand
