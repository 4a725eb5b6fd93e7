// The head of a request to a peer.
//
// What the client asked, in the client's own bytes, less what concerned only the client's
// connection (hop-by-hop fields, RFC 9110 section 7.6.1) and plus what concerns ours: keep-alive,
// our own body framing, and who the client was.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "forward/http1.h"

namespace backhand {

// Names of our fields on the wire.  Never passed on from a client or an application, but for the
// last: the contacts of servers that got this request from a peer, and whose own proxy passed it on
// (mod_proxy).  Whoever knows one of them as a member of its cluster must not forward it again.
constexpr std::string_view proxied_field = "Backhand-Proxied";
constexpr std::string_view exchange_field = "Backhand-Exchange";
constexpr std::string_view load_field = "Backhand-Load";
constexpr std::string_view declined_field = "Backhand-Declined";
constexpr std::string_view visited_field = "Backhand-Visited";

// Values of Backhand-Declined: why a request comes back unserved.
namespace declined {

constexpr std::string_view unknown_member = "unknown-member";  // nothing heard of the forwarder
constexpr std::string_view not_signed = "unsigned";  // not by a member, for this server, now
constexpr std::string_view replayed = "replayed";
constexpr std::string_view other_site = "other-site";
constexpr std::string_view tls = "tls";
constexpr std::string_view busy = "busy";  // it would have had the last worker

// The peer does not believe the forwarder, and would send back whatever else comes from it.
constexpr bool is_for_forwarder(std::string_view reason) {
    return reason == unknown_member || reason == not_signed;
}

}  // namespace declined

// Any field whose name begins with "Backhand-" is ours.
bool is_our_field(std::string_view name);

// The element that a forwarder adds to Via (RFC 9110 section 7.6.3): "1.1 10.0.5.10:80 (backhand)".
std::string via_value(std::string_view server);

// `via` less that element, if it is the last.
std::string_view without_via_of(std::string_view via, std::string_view server);

// What the client spoke; between the servers it is always HTTP/1.1.
enum class HttpVersion : std::uint8_t { http_1_0, http_1_1, http_2 };

// The client's connection as the forwarding server saw it, for the peer to restore.
struct ClientIdentity {
    IpAddress client;
    std::uint16_t client_port = 0;
    std::uint16_t local_port = 0;  // the port the client connected to
    std::uint64_t site = 0;        // hash_ignoring_case of the site the request is for
    bool https = false;
    HttpVersion version = HttpVersion::http_1_1;

    friend bool operator==(const ClientIdentity&, const ClientIdentity&) = default;
};

// Value of Backhand-Exchange, which says all but the address, the value of Backhand-Proxied:
// "client-port=51234;local-port=443;site=17;scheme=https;version=1.0".
std::string exchange_value(const ClientIdentity& identity);

// The identity the two values describe; nullopt if either is not exactly of the form above: an
// address as to_string() writes it, and each parameter once, in any order.  Unknown parameters are
// skipped.
std::optional<ClientIdentity> parse_identity(std::string_view proxied, std::string_view exchange);

// What a peer's response says of its load: "boot=17;measurement=42;serving=3;idle=7".
struct LoadNews {
    std::uint64_t boot_id = 0;
    std::uint64_t measurement = 0;
    std::uint32_t serving = 0;
    std::uint32_t workers_idle = 0;

    friend bool operator==(const LoadNews&, const LoadNews&) = default;
};

std::string load_value(const LoadNews& news);
// As strict as parse_identity, and as tolerant of parameters it does not know.
std::optional<LoadNews> parse_load(std::string_view value);

struct RequestHead {
    std::string_view method;
    std::string_view target;          // exactly as the client sent it
    std::vector<HeaderField> fields;  // as received; filtered here
    std::string_view proxied;         // values that describe the client: the address,
    std::string_view exchange;        // and exchange_value()

    enum class Body : std::uint8_t { none, length, chunked };
    Body body = Body::none;
    std::uint64_t length_bytes = 0;
    std::string_view via;          // this server's name for itself; empty: none is added
    std::string_view upgrade;      // the protocol that the client would rather speak; empty: none
    bool expect_continue = false;  // ask the peer to confirm before the body, if any, is sent

    // The value of the Host field.
    // Error malformed: there is not exactly one.
    Result<std::string_view> host() const;
};

// True for fields that end at this hop: Connection, Keep-Alive, Proxy-Connection, TE, Trailer,
// Transfer-Encoding, Upgrade.  (Those that Connection names are found by request_head_text.)
bool is_hop_by_hop(std::string_view name);

// The bytes to send, up to the empty line that ends the head: an HTTP/1.1 head, Host first, to
// which what differs from peer to peer may still be added.  Drops hop-by-hop fields, those named by
// Connection (never Host), Content-Length, Expect, ours (but visited_field), and any whose name or
// value could be read as more than one field; adds our framing and the identity.  The connection is
// kept alive, as is the rule in HTTP/1.1 (RFC 9112 section 9.3) when nothing is said.
// Error malformed: a method that is not a token, a target that is empty or holds white space or a
// control character, not exactly one Host.  Sent on, the peer might see a request nobody made.
Result<std::string> request_head_text(const RequestHead& head);

// Adds one chunk of a body (RFC 9112 section 7.1) to `text`; without data it is the last one, which
// ends the body.
void append_chunk(std::string& text, std::string_view data);

}  // namespace backhand
