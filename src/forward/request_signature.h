// What makes a forwarded request impossible to forge, and worthless to whoever has recorded it.
//
// A server believes a peer that says who the client is.  With BackhandKey it believes only what is
// signed: the request's method, target and host, the client and its connection, the server it is
// meant for, and a number that counts once there (cluster/exchange_numbers.h).  That it is young is
// shown by naming what the destination itself announced last: no two clocks are compared.
//
//     Backhand-Signature: key=7;from=17;number=42;boot=18;measurement=99;tag=0a1b...
//
// What is signed, each followed by a line feed: "request", the method, the target, the host, the
// values of Backhand-Proxied and Backhand-Exchange, the destination's contact, and the field's own
// value up to ";tag=".  The body is not signed, nor are the other fields: an attacker between two
// servers who can change them could as well change the answer, which only TLS would prevent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "announce/key_ring.h"
#include "base/address.h"
#include "forward/request_head.h"

namespace backhand {

constexpr std::string_view signature_field = "Backhand-Signature";

// A forwarded request, as both of its ends see it.
struct SignedRequest {
    std::string_view method;
    std::string_view target;
    std::string_view host;
    std::string_view proxied;  // values of these two fields
    std::string_view exchange;
    Endpoint destination;
};

struct ExchangeOrigin {
    std::uint64_t boot_id = 0;  // of the forwarder
    std::uint64_t number = 0;   // of this request among those it sent to the destination
    // What the forwarder had last heard the destination announce.
    std::uint64_t heard_boot_id = 0;
    std::uint64_t heard_measurement = 0;

    friend bool operator==(const ExchangeOrigin&, const ExchangeOrigin&) = default;
};

// The field's value.
std::string sign_request(const SignedRequest& request, const ExchangeOrigin& origin,
                         const KeyRing& keys);

// Where the request comes from; nullopt if `value` is no signature of it by any of our keys.
std::optional<ExchangeOrigin> verify_request(const SignedRequest& request, std::string_view value,
                                             const KeyRing& keys);

}  // namespace backhand
