#include "forward/pool_protocol.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <type_traits>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace backhand {

namespace {

static_assert(std::is_trivially_copyable_v<PoolMessage>);

Error failure(Error::Kind kind, const std::string& what) {
    return {kind, what + ": " + std::generic_category().message(errno)};
}

std::optional<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    if (path.size() > socket_path_bytes_max) {
        return std::nullopt;
    }
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

UniqueFd open_unix_socket() {
    return UniqueFd{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

// Room for one descriptor beside a message, aligned as the kernel's macros demand.
struct alignas(cmsghdr) ControlBuffer {
    std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

}  // namespace

std::string pool_socket_path(const std::string& directory) {
    return directory + "/moderator.sock";
}

Result<UniqueFd> listen_for_children(const std::string& path) {
    const std::string fresh_path = path + ".new";
    const auto address = unix_address(fresh_path);
    UniqueFd socket = open_unix_socket();
    if (!socket || !address) {
        return failure(Error::Kind::system, path);
    }
    ::unlink(fresh_path.c_str());
    if (::bind(socket.get(), generic(*address), sizeof *address) != 0 ||
        ::listen(socket.get(), SOMAXCONN) != 0 ||
        std::rename(fresh_path.c_str(), path.c_str()) != 0) {
        return failure(Error::Kind::system, path);
    }
    return socket;
}

Result<UniqueFd> connect_to_moderator(const std::string& path) {
    const auto address = unix_address(path);
    UniqueFd socket = open_unix_socket();
    if (!socket || !address || ::connect(socket.get(), generic(*address), sizeof *address) != 0) {
        return failure(Error::Kind::unavailable, path);
    }
    return socket;
}

Status send_message(int socket, const PoolMessage& message, UniqueFd connection) {
    PoolMessage copy = message;
    iovec bytes{.iov_base = &copy, .iov_len = sizeof copy};
    ControlBuffer control;
    msghdr header{};
    header.msg_iov = &bytes;
    header.msg_iovlen = 1;
    if (connection) {
        header.msg_control = control.bytes.data();
        header.msg_controllen = control.bytes.size();
        cmsghdr* const rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        const int fd = connection.get();
        std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    if (::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof copy) {
        return failure(Error::Kind::unavailable, "cannot reach the other side");
    }
    return Done{};
}

Result<std::optional<ReceivedPoolMessage>> receive_message(int socket) {
    ReceivedPoolMessage received;
    iovec bytes{.iov_base = &received.message, .iov_len = sizeof received.message};
    ControlBuffer control;
    msghdr header{};
    header.msg_iov = &bytes;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();

    const auto size = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return std::optional<ReceivedPoolMessage>{};
    }
    for (cmsghdr* part = size < 0 ? nullptr : CMSG_FIRSTHDR(&header); part != nullptr;
         part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(part), sizeof fd);
            received.connection.reset(fd);
        }
    }
    // Several descriptors at once do not fit the buffer: the kernel closes them and says so.
    if (size != sizeof received.message || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return Error{Error::Kind::broken, "not a message of the connection pool"};
    }
    return std::optional{std::move(received)};
}

}  // namespace backhand
