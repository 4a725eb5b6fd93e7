// Redirect: sending the client itself to the chosen server, instead of forwarding for it.
//
// The client then stays with that server for all it asks for next, and this server has no more to
// do with it.  What the client is told is the server's address, or a name made from a format:
//
//     %S      the host name that the chosen server announces
//     %H      the host that the client asked for, without port
//     %2S     its first two labels      %-2S    all but its first two labels      %%  a percent
//     sign
//
// so that "%1S.%-1H" turns www.example.com into web7.example.com.
//
// Whoever has been sent to a server by its own name must not be sent on by that server, or clients
// would run in circles: a request for the very host that this server would be called by is not
// redirected.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace backhand {

class Redirect {
public:
    // To the server's address.
    Redirect() = default;

    // To a name.  Error malformed says what is wrong with the format.
    static Result<Redirect> to_name(std::string_view format);

    // What the client is told as the host of the server with this name and contact, without port
    // and with brackets around an IPv6 address; empty if there is none that a client could use.
    std::string host_of(std::string_view server_name, const Endpoint& contact,
                        std::string_view requested_host) const;

    // True if the client is to be sent to the contact's port, too, and not to the one it used.
    bool names_contact() const { return pieces_.empty(); }

private:
    enum class Kind : std::uint8_t { text, server_name, requested_host };

    struct Piece {
        Kind kind = Kind::text;
        std::string text;
        int labels = 0;  // above 0: the first so many; below: all but so many; 0: all
    };

    std::vector<Piece> pieces_;  // none: the address
};

}  // namespace backhand
