// AcceptList: whose word counts.
//
// Announcements come in datagrams that anyone on the network can send, and a server that is
// believed gets clients' requests.  The operator names the senders to be believed; with none named,
// nobody is.
//
//   AcceptStats 10.0.5.1                   one server
//   AcceptStats 10.0.5.0/24                a network; 10.0.5.0/255.255.255.0 is the same
//   AcceptStats 10.0                       every address that begins with 10.0
//   AcceptStats 2001:db8:5::/48
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace backhand {

// One value of AcceptStats.  An error names the value and what would be right.
Result<IpPrefix> parse_accept(std::string_view value);

// As parse_accept() reads it: "10.0.5.1", "10.0.0.0/16", "2001:db8:5::/48".
std::string to_string(const IpPrefix& prefix);

// Filled while the configuration is read, constant afterwards; then any thread may ask.
class AcceptList {
public:
    void add(const IpPrefix& prefix);

    // An IPv6 prefix never covers an IPv4 address: ::/0 is all of IPv6 and nothing else.
    bool contains(const IpAddress& address) const;

    bool empty() const { return prefixes_.empty(); }

    // In the order of add(), each once.
    std::span<const IpPrefix> prefixes() const { return prefixes_; }

private:
    std::vector<IpPrefix> prefixes_;
};

}  // namespace backhand
