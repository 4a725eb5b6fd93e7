// HTTP/1 responses, read strictly and without I/O.
//
// The caller owns the bytes and the socket; these functions only look at what has arrived so far,
// so that the same code serves a child that blocks and a process that waits for many connections.
// Strictness is the point: two readers of one response must never disagree about where it ends
// (RFC 9112 sections 2.2, 5, 6, 7 and 11).  What a peer sends that is not plainly right is an
// error, its connection is closed, and the request goes elsewhere.
//
// No allocation, but for the detail of an error: a head's fields are views into the caller's bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"

namespace backhand {

struct HeaderField {
    std::string_view name;
    std::string_view value;  // without surrounding white space
};

constexpr std::size_t header_fields_max = 128;

// True if `text` may be the name of a field or a method (RFC 9110 section 5.6.2).
bool is_token(std::string_view text);

// True if `text` may be the value of a field: no control characters other than HTAB.  What it
// refuses, another reader might take for the end of the field, or of the head.
bool is_field_value(std::string_view text);

// True if `token`, without regard to case, is an element of the comma-separated `list`.
bool list_has_token(std::string_view list, std::string_view token);

struct ResponseHead {
    int status = 0;                // 100 .. 599
    int minor_version = 1;         // of HTTP/1.x
    std::string_view status_line;  // "404 Not Found": code and reason as sent; "404" without one
    std::size_t size_bytes = 0;    // up to and including the empty line
    std::size_t fields_count = 0;

    // Not cleared beforehand, which would cost more than reading most heads does: only the first
    // fields_count hold anything.
    union {
        std::array<HeaderField, header_fields_max> field_storage;
    };

    ResponseHead() {}  // NOLINT(modernize-use-equals-default): that would clear it, were it allowed

    std::span<const HeaderField> fields() const { return {field_storage.data(), fields_count}; }

    // The first field of this name, without regard to case.
    std::optional<std::string_view> find(std::string_view name) const;

    // True if a comma-separated list field of this name has this token in any of its occurrences.
    bool has_token(std::string_view name, std::string_view token) const;
};

enum class HeadState { complete, incomplete };

// Reads a response head from the beginning of `bytes` into `head`.
//   complete    `head` is filled; its views point into `bytes`
//   incomplete  more bytes are needed (the caller bounds how many it is willing to hold); call
//               again with the same bytes and those that followed
// Unless complete, what `head` holds is of no use.  Another protocol and a control character are
// errors as soon as they arrive, everything else at the end of its line.
// Error malformed: a bare CR or LF, a NUL or other control character, a name that is not a token
// (white space before the colon), a line without a colon, a folded line, more than
// header_fields_max fields, a status line that is not HTTP/1.x, a status outside 100..599.
Result<HeadState> parse_response_head(std::string_view bytes, ResponseHead& head);

enum class BodyEnd : std::uint8_t { at_head, at_length, at_last_chunk, at_close };

struct ResponseFraming {
    BodyEnd end = BodyEnd::at_head;
    std::uint64_t length_bytes = 0;  // for at_length
    bool keep_alive = false;         // the connection may carry another exchange after this one
};

// Where the response's body ends (RFC 9112 section 6.3).  `to_head_request`: the request was HEAD.
// Error malformed: both Content-Length and Transfer-Encoding, more than one of either, a length
// that is not plain digits or exceeds 2^63-1, a transfer coding other than exactly "chunked",
// Transfer-Encoding from an HTTP/1.0 peer, a body announced by a 1xx or a 204 (the next response
// would be read from where others see that body).
Result<ResponseFraming> response_framing(const ResponseHead& head, bool to_head_request);

// The longest size line of a chunk, extension and CRLF included, and the longest trailer section.
constexpr std::size_t chunk_overhead_bytes_max = 8192;

// Takes the chunked coding off a body (RFC 9112 section 7.1), piece by piece.
class ChunkedDecoder {
public:
    struct Step {
        std::size_t consumed = 0;  // bytes of the input that are done with
        std::string_view body;     // the body bytes among them, a view into the input
    };

    // Consumes from the front of `input`.  Returns at the first piece of body, at the end, or when
    // nothing more can be consumed without more input; call again with the rest.  What follows the
    // end is not consumed.
    // Error malformed: a size that is not plain hexadecimal (white space around it included) or
    // exceeds 2^63-1, a missing CRLF, a control character, a trailer that is not a field line, a
    // size line or trailer section longer than chunk_overhead_bytes_max.
    Result<Step> next(std::string_view input);

    // True once the last chunk and its trailer section have been consumed.
    bool done() const { return state_ == State::done; }

private:
    enum class State : std::uint8_t {
        size_first_digit,
        size,
        extension,
        size_line_feed,
        data,
        data_carriage_return,
        data_line_feed,
        trailer_line_start,
        trailer_name,
        trailer_value,
        trailer_line_feed,
        final_line_feed,
        done,
        malformed,
    };

    // Each takes one byte that is not body, and returns what is wrong with it: empty if nothing.
    std::string_view take_framing(char byte);
    std::string_view take_size(char byte);
    std::string_view take_trailer(char byte);
    std::string_view take_line_end(char byte, char expected, State next_state);

    State state_ = State::size_first_digit;
    std::uint64_t remaining_bytes_ = 0;  // of the current chunk
    std::size_t overhead_bytes_ = 0;     // of this size line, or of the trailer section, so far
};

}  // namespace backhand
