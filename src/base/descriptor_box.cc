#include "base/descriptor_box.h"

#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/system_error.h"

namespace backhand {

namespace {

union ControlSpace {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

Result<DescriptorBox> DescriptorBox::make() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        return last_system_error("cannot make a socket");
    }
    return DescriptorBox{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

Status DescriptorBox::put(const UniqueFd& file, std::uint32_t number) const {
    ControlSpace control{};
    iovec data{&number, sizeof number};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = file.get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    const ssize_t sent = ::sendmsg(lid_.get(), &message, MSG_NOSIGNAL);
    return sent == sizeof number ? Status{Done{}} : last_system_error("cannot pass the file on");
}

std::optional<DescriptorBox::Content> DescriptorBox::receive(int flags) const {
    ControlSpace control{};
    Content content;
    iovec data{&content.number, sizeof content.number};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    if (::recvmsg(box_.get(), &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) !=
        sizeof content.number) {
        return std::nullopt;
    }
    const cmsghdr* const header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_type != SCM_RIGHTS) {
        return std::nullopt;
    }
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    content.file.reset(fd);
    return content;
}

std::optional<DescriptorBox::Content> DescriptorBox::look() const {
    return receive(MSG_PEEK);
}

void DescriptorBox::settle(std::uint32_t number) const {
    for (auto first = look(); first && first->number != number; first = look()) {
        static_cast<void>(receive(0));
    }
}

}  // namespace backhand
