#include "forward/http1.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>

#include "base/text.h"

namespace backhand {

namespace {

// One more would not fit the signed offsets in which httpd, and most peers, count a body.
constexpr std::uint64_t body_bytes_max = std::numeric_limits<std::int64_t>::max();

constexpr std::string_view protocol = "HTTP/1.";

Error malformed(std::string_view detail) {
    return Error{Error::Kind::malformed, std::string{detail}};
}

constexpr bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

// A set of bytes.
class ByteSet {
public:
    template <class Predicate>
    constexpr explicit ByteSet(Predicate belongs) {
        for (std::size_t value = 0; value < members_.size(); ++value) {
            members_[value] = belongs(static_cast<char>(value));
        }
    }

    constexpr bool has(char byte) const { return members_[static_cast<unsigned char>(byte)]; }

private:
    std::array<bool, 256> members_{};
};

constexpr ByteSet token_chars{[](char byte) {
    constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
    const char lower = to_lower(byte);
    return (lower >= 'a' && lower <= 'z') || is_digit(byte) ||
           marks.find(byte) != std::string_view::npos;
}};

// Visible characters, space, HTAB and obs-text.
constexpr ByteSet text_chars{[](char byte) {
    return byte == '\t' || (static_cast<unsigned char>(byte) >= 0x20 && byte != 0x7F);
}};

constexpr std::optional<std::uint64_t> hex_digit(char byte) {
    const char lower = to_lower(byte);
    if (is_digit(byte)) {
        return static_cast<std::uint64_t>(byte - '0');
    }
    if (lower >= 'a' && lower <= 'f') {
        return static_cast<std::uint64_t>(lower - 'a') + 10;
    }
    return std::nullopt;
}

constexpr bool is_space(char byte) {
    return byte == ' ' || byte == '\t';
}

constexpr std::string_view without_surrounding_space(std::string_view text) {
    while (!text.empty() && is_space(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && is_space(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

// The high bit of each of the eight bytes that is a control character.  Bytes below 0x80 become one
// more, and 0x7F then 0x80; what is still below 0x21 was below 0x20.  No byte carries into the
// next.
constexpr std::uint64_t controls_in(std::uint64_t eight_bytes) {
    constexpr std::uint64_t each = 0x0101010101010101U;
    constexpr std::uint64_t high_bits = each * 0x80;
    const std::uint64_t risen = (eight_bytes & ~high_bits) + each;
    const std::uint64_t at_least_0x21 = risen + each * (0x80 - 0x21);
    return (~at_least_0x21 | risen) & ~eight_bytes & high_bits;
}

// How many of the bytes at the front of eight, the first of them the lowest, are no control
// characters.
std::size_t without_control(const char* eight_bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, eight_bytes, sizeof word);
    if constexpr (std::endian::native == std::endian::big) {
        word = __builtin_bswap64(word);
    }
    return static_cast<std::size_t>(std::countr_zero(controls_in(word))) / 8;
}

// The longest beginning of `bytes` that is text.
std::string_view text_at_front(std::string_view bytes) {
    constexpr std::size_t step_bytes = sizeof(std::uint64_t);
    std::size_t size = 0;
    while (size + step_bytes <= bytes.size()) {
        const std::size_t plain = without_control(bytes.data() + size);
        size += plain;
        if (plain < step_bytes && bytes[size] != '\t') {
            return bytes.substr(0, size);
        }
        size += plain < step_bytes ? 1 : 0;
    }
    while (size < bytes.size() && text_chars.has(bytes[size])) {
        ++size;
    }
    return bytes.substr(0, size);
}

// The longest beginning of `bytes` that is a token, or nothing.
std::string_view token_at_front(std::string_view bytes) {
    const auto* const end = std::find_if_not(bytes.begin(), bytes.end(),
                                             [](char byte) { return token_chars.has(byte); });
    return bytes.substr(0, static_cast<std::size_t>(end - bytes.begin()));
}

constexpr std::size_t line_end_size_bytes = 2;

// The line at the front of `bytes`, without its CRLF; nullopt if its end has not arrived.
Result<std::optional<std::string_view>> first_line(std::string_view bytes) {
    const std::string_view line = text_at_front(bytes);
    const std::string_view end = bytes.substr(line.size(), line_end_size_bytes);
    if (end.empty() || end == "\r") {
        return std::optional<std::string_view>{};
    }
    if (end.front() == '\r' && end != "\r\n") {
        return malformed("a bare CR in the response head");
    }
    if (end.front() == '\n') {
        return malformed("a bare LF in the response head");
    }
    if (end.front() != '\r') {
        return malformed("a control character in the response head");
    }
    return std::optional{line};
}

// "HTTP/1.1 404 Not Found".  The reason may be missing, and the space before it too.
Status parse_status_line(std::string_view line, ResponseHead& head) {
    constexpr std::size_t minor_index = protocol.size();
    constexpr std::size_t status_index = minor_index + 2;
    constexpr std::size_t reason_index = status_index + 3;

    if (line.size() < reason_index || !is_digit(line[minor_index]) ||
        line[minor_index + 1] != ' ' || (line.size() > reason_index && line[reason_index] != ' ')) {
        return malformed("a status line that is not HTTP/1");
    }
    const auto status = parse_number<int>(line.substr(status_index, reason_index - status_index));
    if (!status || *status < 100 || *status > 599) {
        return malformed("a status that is not within 100 and 599");
    }
    head.status = *status;
    head.minor_version = line[minor_index] - '0';
    head.status_line = line.substr(status_index);
    return Done{};
}

Result<HeaderField> parse_field_line(std::string_view line) {
    if (is_space(line.front())) {
        return malformed("a folded line in the response head");
    }
    const std::size_t name_bytes = token_at_front(line).size();
    if (name_bytes > 0 && name_bytes < line.size() && line[name_bytes] == ':') {
        return HeaderField{line.substr(0, name_bytes),
                           without_surrounding_space(line.substr(name_bytes + 1))};
    }
    return malformed(line.find(':') == std::string_view::npos
                         ? "a line without a colon in the response head"
                         : "a field name that is not a token in the response head");
}

// What the fields say of the body and of the connection.
struct FramingFields {
    std::optional<std::string_view> content_length;
    std::optional<std::string_view> transfer_encoding;
    bool close = false;       // Connection: close
    bool keep_alive = false;  // Connection: keep-alive
};

// Error malformed: more than one Content-Length or Transfer-Encoding.
Result<FramingFields> framing_fields(const ResponseHead& head) {
    FramingFields found;
    for (const HeaderField& field : head.fields()) {
        if (equal_ignoring_case(field.name, "Content-Length")) {
            if (found.content_length) {
                return malformed("more than one Content-Length");
            }
            found.content_length = field.value;
        } else if (equal_ignoring_case(field.name, "Transfer-Encoding")) {
            if (found.transfer_encoding) {
                return malformed("more than one Transfer-Encoding");
            }
            found.transfer_encoding = field.value;
        } else if (equal_ignoring_case(field.name, "Connection")) {
            found.close = found.close || list_has_token(field.value, "close");
            found.keep_alive = found.keep_alive || list_has_token(field.value, "keep-alive");
        }
    }
    return found;
}

Result<std::uint64_t> parse_content_length(std::string_view value) {
    const auto length_bytes = parse_number<std::uint64_t>(value);
    if (!length_bytes || *length_bytes > body_bytes_max) {
        return malformed("a Content-Length that is not a length");
    }
    return *length_bytes;
}

Status check_chunked(const ResponseHead& head, std::string_view transfer_encoding) {
    if (!equal_ignoring_case(transfer_encoding, "chunked")) {
        return malformed("a Transfer-Encoding other than chunked");
    }
    // It may have come through a proxy that knows no chunks, and be framed otherwise by now.
    if (head.minor_version == 0) {
        return malformed("a Transfer-Encoding with HTTP/1.0");
    }
    return Done{};
}

}  // namespace

bool is_token(std::string_view text) {
    return !text.empty() && token_at_front(text).size() == text.size();
}

bool is_field_value(std::string_view text) {
    return text_at_front(text).size() == text.size();
}

bool list_has_token(std::string_view list, std::string_view token) {
    while (true) {
        const std::size_t comma = list.find(',');
        if (equal_ignoring_case(without_surrounding_space(list.substr(0, comma)), token)) {
            return true;
        }
        if (comma == std::string_view::npos) {
            return false;
        }
        list.remove_prefix(comma + 1);
    }
}

std::optional<std::string_view> ResponseHead::find(std::string_view name) const {
    for (const HeaderField& field : fields()) {
        if (equal_ignoring_case(field.name, name)) {
            return field.value;
        }
    }
    return std::nullopt;
}

bool ResponseHead::has_token(std::string_view name, std::string_view token) const {
    return std::any_of(fields().begin(), fields().end(), [name, token](const HeaderField& field) {
        return equal_ignoring_case(field.name, name) && list_has_token(field.value, token);
    });
}

Result<HeadState> parse_response_head(std::string_view bytes, ResponseHead& head) {
    // Before the line is complete: whoever speaks another protocol may never end it.
    if (!protocol.starts_with(bytes.substr(0, protocol.size()))) {
        return malformed("not an HTTP/1 response");
    }

    head.fields_count = 0;
    head.size_bytes = 0;
    while (true) {
        const auto line = first_line(bytes.substr(head.size_bytes));
        if (!line) {
            return line.error();
        }
        if (!*line) {
            return HeadState::incomplete;
        }
        const bool is_status_line = head.size_bytes == 0;
        head.size_bytes += (*line)->size() + line_end_size_bytes;

        if (is_status_line) {
            const Status status = parse_status_line(**line, head);
            if (!status) {
                return status.error();
            }
            continue;
        }
        if ((*line)->empty()) {
            return HeadState::complete;
        }
        if (head.fields_count == header_fields_max) {
            return malformed("too many fields in the response head");
        }
        const Result<HeaderField> field = parse_field_line(**line);
        if (!field) {
            return field.error();
        }
        head.field_storage[head.fields_count++] = *field;
    }
}

Result<ResponseFraming> response_framing(const ResponseHead& head, bool to_head_request) {
    const Result<FramingFields> fields = framing_fields(head);
    if (!fields) {
        return fields.error();
    }
    const bool chunked = fields->transfer_encoding.has_value();
    const bool has_length = fields->content_length.has_value();
    if (chunked) {
        if (const Status checked = check_chunked(head, *fields->transfer_encoding); !checked) {
            return checked.error();
        }
    }
    std::uint64_t length_bytes = 0;
    if (has_length) {
        const auto parsed = parse_content_length(*fields->content_length);
        if (!parsed) {
            return parsed.error();
        }
        length_bytes = *parsed;
    }
    if (chunked && has_length) {
        return malformed("both a Content-Length and a Transfer-Encoding");
    }
    const bool never_has_body = head.status < 200 || head.status == 204;
    if (never_has_body && (chunked || length_bytes > 0)) {
        return malformed("a body announced by a status that has none");
    }

    ResponseFraming framing;
    framing.keep_alive = !fields->close && (head.minor_version > 0 || fields->keep_alive);
    if (never_has_body || head.status == 304 || to_head_request) {
        framing.end = BodyEnd::at_head;
    } else if (chunked) {
        framing.end = BodyEnd::at_last_chunk;
    } else if (has_length) {
        framing.end = BodyEnd::at_length;
        framing.length_bytes = length_bytes;
    } else {
        framing.end = BodyEnd::at_close;
        framing.keep_alive = false;
    }
    return framing;
}

Result<ChunkedDecoder::Step> ChunkedDecoder::next(std::string_view input) {
    std::size_t consumed = 0;
    while (consumed < input.size() && state_ != State::done) {
        if (state_ == State::data) {
            const std::string_view body = input.substr(consumed).substr(0, remaining_bytes_);
            remaining_bytes_ -= body.size();
            if (remaining_bytes_ == 0) {
                state_ = State::data_carriage_return;
            }
            return Step{consumed + body.size(), body};
        }
        const std::string_view complaint = take_framing(input[consumed]);
        if (!complaint.empty()) {
            state_ = State::malformed;
            return malformed(complaint);
        }
        ++consumed;
    }
    return Step{consumed, {}};
}

std::string_view ChunkedDecoder::take_framing(char byte) {
    if (++overhead_bytes_ > chunk_overhead_bytes_max) {
        return "too long a chunk extension or trailer section";
    }
    switch (state_) {
        case State::size_first_digit:
        case State::size:
            return take_size(byte);
        case State::extension:
            // What an extension says is of no interest, but a quoted LF in it must not pass: it
            // is where readers have disagreed about the end of the line.
            return text_chars.has(byte) ? std::string_view{}
                                        : take_line_end(byte, '\r', State::size_line_feed);
        case State::size_line_feed:
            overhead_bytes_ = 0;
            return take_line_end(byte, '\n',
                                 remaining_bytes_ == 0 ? State::trailer_line_start : State::data);
        case State::data_carriage_return:
            return take_line_end(byte, '\r', State::data_line_feed);
        case State::data_line_feed:
            overhead_bytes_ = 0;
            return take_line_end(byte, '\n', State::size_first_digit);
        case State::trailer_line_start:
        case State::trailer_name:
        case State::trailer_value:
            return take_trailer(byte);
        case State::trailer_line_feed:
            return take_line_end(byte, '\n', State::trailer_line_start);
        case State::final_line_feed:
            return take_line_end(byte, '\n', State::done);
        case State::data:
        case State::done:
        case State::malformed:
            break;
    }
    return "more of a chunked body that was malformed";
}

std::string_view ChunkedDecoder::take_size(char byte) {
    if (const std::optional<std::uint64_t> digit = hex_digit(byte)) {
        if (remaining_bytes_ > body_bytes_max / 16) {
            return "a chunk of more than 2^63-1 bytes";
        }
        remaining_bytes_ = remaining_bytes_ * 16 + *digit;
        state_ = State::size;
        return {};
    }
    if (state_ == State::size_first_digit) {
        return "a chunk without a size";
    }
    if (byte == ';') {
        state_ = State::extension;
        return {};
    }
    return take_line_end(byte, '\r', State::size_line_feed);
}

std::string_view ChunkedDecoder::take_trailer(char byte) {
    if (state_ == State::trailer_value) {
        return text_chars.has(byte) ? std::string_view{}
                                    : take_line_end(byte, '\r', State::trailer_line_feed);
    }
    if (token_chars.has(byte)) {
        state_ = State::trailer_name;
        return {};
    }
    if (state_ == State::trailer_name && byte == ':') {
        state_ = State::trailer_value;
        return {};
    }
    if (state_ == State::trailer_line_start && byte == '\r') {
        state_ = State::final_line_feed;
        return {};
    }
    return "a trailer that is not a field line";
}

std::string_view ChunkedDecoder::take_line_end(char byte, char expected, State next_state) {
    if (byte != expected) {
        return "a chunk, its size or a trailer that does not end in CRLF";
    }
    state_ = next_state;
    return {};
}

}  // namespace backhand
