#include "announce/inbox.h"

#include <algorithm>

namespace backhand {

DatagramInbox::DatagramInbox() : bytes_(size * room_bytes) {
    for (std::size_t index = 0; index < size; ++index) {
        rooms_[index] = {.iov_base = bytes_.data() + index * room_bytes, .iov_len = room_bytes};
        msghdr& header = messages_[index].msg_hdr;
        header.msg_name = &senders_[index];
        header.msg_iov = &rooms_[index];
        header.msg_iovlen = 1;
    }
}

std::size_t DatagramInbox::fetch(int socket) {
    for (mmsghdr& message : messages_) {
        message.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    }
    const int count = ::recvmmsg(socket, messages_.data(), size, MSG_DONTWAIT, nullptr);
    return static_cast<std::size_t>(std::max(count, 0));
}

std::span<const std::uint8_t> DatagramInbox::datagram(std::size_t index) const {
    return {bytes_.data() + index * room_bytes, messages_[index].msg_len};
}

}  // namespace backhand
