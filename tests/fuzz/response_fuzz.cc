// Looks for a response that is read differently when it arrives in other pieces.
//
// That is the property which keeps one exchange apart from the next on a connection: where the
// network cuts a response is chance, or an attacker's choice, and must decide nothing.  The first
// byte of the input is the size of the pieces, the rest is the response.  Each piece is read from
// memory of exactly its size, so that the sanitizer sees a read beyond the end.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "forward/http1.h"
#include "fuzzing.h"

namespace {

using backhand::ChunkedDecoder;
using backhand::HeaderField;
using backhand::HeadState;
using backhand::require;
using backhand::ResponseFraming;
using backhand::ResponseHead;
using backhand::Result;

enum class Outcome { complete, incomplete, malformed };

// All that the reader says of a response, independent of where its bytes are.
struct Reading {
    Outcome outcome = Outcome::incomplete;
    std::string status_line;
    int status = 0;
    int minor_version = 0;
    std::size_t size_bytes = 0;
    std::vector<std::string> fields;

    friend bool operator==(const Reading&, const Reading&) = default;
};

std::vector<char> exact_copy(std::string_view bytes) {
    return {bytes.begin(), bytes.end()};
}

std::string_view view(const std::vector<char>& bytes) {
    return {bytes.data(), bytes.size()};
}

Reading read_head(std::string_view bytes) {
    const std::vector<char> copy = exact_copy(bytes);
    ResponseHead head;
    const Result<HeadState> state = backhand::parse_response_head(view(copy), head);

    Reading reading;
    if (!state) {
        reading.outcome = Outcome::malformed;
        return reading;
    }
    if (*state == HeadState::incomplete) {
        return reading;
    }
    require(head.size_bytes <= bytes.size());
    require(bytes.substr(0, head.size_bytes).ends_with("\r\n\r\n"));
    reading.outcome = Outcome::complete;
    reading.status_line = head.status_line;
    reading.status = head.status;
    reading.minor_version = head.minor_version;
    reading.size_bytes = head.size_bytes;
    for (const HeaderField& field : head.fields()) {
        require(backhand::is_token(field.name) && backhand::is_field_value(field.value));
        reading.fields.push_back(std::string{field.name} + ": " + std::string{field.value});
    }
    return reading;
}

// As a caller reads it: again from the start each time another piece has arrived.
Reading read_head_in_pieces(std::string_view bytes, std::size_t piece_size) {
    Reading reading;
    std::size_t arrived = 0;
    while (arrived < bytes.size() && reading.outcome == Outcome::incomplete) {
        arrived = std::min(arrived + piece_size, bytes.size());
        reading = read_head(bytes.substr(0, arrived));
    }
    return reading;
}

struct Decoded {
    Outcome outcome = Outcome::incomplete;
    std::string body;
    std::size_t consumed = 0;  // up to the end of the body, or all that was given

    friend bool operator==(const Decoded&, const Decoded&) = default;
};

void decode_piece(ChunkedDecoder& decoder, std::string_view piece, Decoded& decoded) {
    while (!piece.empty() && !decoder.done()) {
        const Result<ChunkedDecoder::Step> step = decoder.next(piece);
        if (!step) {
            // How far the last step went before the error is of no consequence.
            decoded.consumed = 0;
            decoded.outcome = Outcome::malformed;
            return;
        }
        // Anything less, and a caller would call forever.
        require(step->consumed > 0 && step->consumed <= piece.size());
        require(step->body.size() <= step->consumed);
        decoded.body += step->body;
        decoded.consumed += step->consumed;
        piece.remove_prefix(step->consumed);
    }
}

Decoded decode(std::string_view bytes, std::size_t piece_size) {
    ChunkedDecoder decoder;
    Decoded decoded;
    while (!bytes.empty() && !decoder.done() && decoded.outcome != Outcome::malformed) {
        const std::vector<char> piece = exact_copy(bytes.substr(0, piece_size));
        decode_piece(decoder, view(piece), decoded);
        bytes.remove_prefix(piece.size());
    }
    require(!decoder.done() || decoded.outcome != Outcome::malformed);
    if (decoder.done()) {
        decoded.outcome = Outcome::complete;
    }
    return decoded;
}

void check_decoding(std::string_view bytes, std::size_t piece_size) {
    require(decode(bytes, bytes.size()) == decode(bytes, piece_size));
}

bool same_framing(const Result<ResponseFraming>& left, const Result<ResponseFraming>& right) {
    if (!left || !right) {
        return !left && !right;
    }
    return left->end == right->end && left->length_bytes == right->length_bytes &&
           left->keep_alive == right->keep_alive;
}

// What follows the head must not change where the body is said to end.
Result<ResponseFraming> check_framing(std::string_view bytes, std::size_t head_size_bytes,
                                      bool to_head_request) {
    ResponseHead whole;
    ResponseHead alone;
    require(static_cast<bool>(backhand::parse_response_head(bytes, whole)));
    require(
        static_cast<bool>(backhand::parse_response_head(bytes.substr(0, head_size_bytes), alone)));

    auto framing = backhand::response_framing(whole, to_head_request);
    require(same_framing(framing, backhand::response_framing(alone, to_head_request)));
    if (framing) {
        require(!framing->keep_alive || framing->end != backhand::BodyEnd::at_close);
        require(!to_head_request || framing->end == backhand::BodyEnd::at_head);
    }
    return framing;
}

void check_response(std::string_view bytes, std::size_t piece_size) {
    const Reading whole = read_head(bytes);
    require(whole == read_head_in_pieces(bytes, piece_size));
    if (whole.outcome != Outcome::complete) {
        return;
    }
    const auto framing = check_framing(bytes, whole.size_bytes, false);
    const auto framing_to_head = check_framing(bytes, whole.size_bytes, true);
    // A contradiction is one whether or not a body follows.
    require(static_cast<bool>(framing) == static_cast<bool>(framing_to_head));

    if (framing && framing->end == backhand::BodyEnd::at_last_chunk) {
        check_decoding(bytes.substr(whole.size_bytes), piece_size);
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::size_t piece_size = std::max<std::size_t>(data[0], 1);
    const std::string input(data + 1, data + size);

    check_response(input, piece_size);
    // The decoder by itself as well: most inputs never get past a head.
    check_decoding(input, piece_size);
    return 0;
}
