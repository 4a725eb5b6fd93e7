// How strictly a peer's response is read, however it is cut into pieces on its way.
//
// Every response here is given to the reader whole and in every prefix or segment size as well,
// each in memory of exactly its size, so that a sanitizer sees a read beyond the end.

#include "forward/http1.h"

#include <algorithm>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace backhand {

namespace {

using namespace std::string_view_literals;

enum class Outcome { complete, incomplete, malformed };

std::ostream& operator<<(std::ostream& out, Outcome outcome) {
    switch (outcome) {
        case Outcome::complete:
            return out << "complete";
        case Outcome::incomplete:
            return out << "incomplete";
        case Outcome::malformed:
            return out << "malformed";
    }
    return out;
}

Outcome outcome_of(const Result<HeadState>& result) {
    if (!result) {
        EXPECT_EQ(result.error().kind, Error::Kind::malformed);
        EXPECT_FALSE(result.error().detail.empty());
        return Outcome::malformed;
    }
    return *result == HeadState::complete ? Outcome::complete : Outcome::incomplete;
}

Outcome outcome_of_prefix(std::string_view bytes, std::size_t size) {
    const std::vector<char> prefix(bytes.begin(),
                                   bytes.begin() + static_cast<std::ptrdiff_t>(size));
    ResponseHead head;
    const Outcome outcome = outcome_of(parse_response_head({prefix.data(), prefix.size()}, head));
    if (outcome == Outcome::complete) {
        EXPECT_LE(head.size_bytes, size);
    }
    return outcome;
}

// Parses `bytes` as they would arrive one by one, and checks that the outcome, once it is more
// than incomplete, never changes and is that of all of them at once.
Outcome parse(std::string_view bytes, ResponseHead& head) {
    const Outcome whole = outcome_of(parse_response_head(bytes, head));
    Outcome latest = Outcome::incomplete;
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        const Outcome outcome = outcome_of_prefix(bytes, size);
        if (latest != Outcome::incomplete) {
            EXPECT_EQ(outcome, latest) << "after " << size << " bytes";
        }
        latest = outcome;
        if (whole == Outcome::complete) {
            EXPECT_EQ(outcome == Outcome::complete, size >= head.size_bytes) << size;
        }
    }
    EXPECT_EQ(latest, whole);
    return whole;
}

Outcome parse(std::string_view bytes) {
    ResponseHead head;
    return parse(bytes, head);
}

ResponseHead parsed(std::string_view bytes) {
    ResponseHead head;
    EXPECT_EQ(parse(bytes, head), Outcome::complete);
    return head;
}

// The number of bytes after which the head is known to be malformed.
std::size_t certain_after(std::string_view bytes) {
    std::size_t size = 0;
    while (size < bytes.size() && outcome_of_prefix(bytes, size) != Outcome::malformed) {
        ++size;
    }
    return size;
}

std::string head_with_fields(std::size_t count) {
    std::string bytes = "HTTP/1.1 200 OK\r\n";
    for (std::size_t index = 0; index < count; ++index) {
        bytes += "N" + std::to_string(index) + ": v\r\n";
    }
    return bytes + "\r\n";
}

// The framing of a response with this status line and these fields.
Result<ResponseFraming> framing(std::string_view status_line, std::string_view fields,
                                bool to_head_request = false) {
    const std::string bytes = std::string{status_line} + "\r\n" + std::string{fields} + "\r\n";
    return response_framing(parsed(bytes), to_head_request);
}

Result<ResponseFraming> framing_of_200(std::string_view fields, bool to_head_request = false) {
    return framing("HTTP/1.1 200 OK", fields, to_head_request);
}

bool is_malformed(const Result<ResponseFraming>& result) {
    return !result && result.error().kind == Error::Kind::malformed &&
           !result.error().detail.empty();
}

struct Decoded {
    Outcome outcome = Outcome::incomplete;
    std::string body;
    std::size_t consumed = 0;  // up to and including the last good step
};

// Gives the decoder one segment, step by step.
void decode_segment(ChunkedDecoder& decoder, std::string_view segment, Decoded& decoded) {
    while (!segment.empty() && !decoder.done()) {
        const Result<ChunkedDecoder::Step> step = decoder.next(segment);
        if (!step) {
            EXPECT_EQ(step.error().kind, Error::Kind::malformed);
            EXPECT_FALSE(step.error().detail.empty());
            decoded.outcome = Outcome::malformed;
            return;
        }
        EXPECT_GT(step->consumed, 0U);
        EXPECT_LE(step->body.size(), step->consumed);
        EXPECT_LE(step->consumed, segment.size());
        decoded.body += step->body;
        decoded.consumed += step->consumed;
        segment.remove_prefix(step->consumed);
    }
}

Decoded decode_in_segments(std::string_view bytes, std::size_t segment_size) {
    ChunkedDecoder decoder;
    Decoded decoded;
    while (!bytes.empty() && !decoder.done() && decoded.outcome != Outcome::malformed) {
        const std::string_view front = bytes.substr(0, segment_size);
        const std::vector<char> segment(front.begin(), front.end());
        decode_segment(decoder, {segment.data(), segment.size()}, decoded);
        bytes.remove_prefix(front.size());
    }
    if (decoder.done()) {
        decoded.outcome = Outcome::complete;
    }
    return decoded;
}

// Decodes `bytes` whole, and checks that segments of other sizes give the same.
Decoded decode(std::string_view bytes) {
    constexpr std::size_t segment_size_max = 64;
    Decoded whole = decode_in_segments(bytes, std::max<std::size_t>(bytes.size(), 1));
    for (std::size_t size = 1; size <= std::min(bytes.size(), segment_size_max); ++size) {
        const Decoded pieces = decode_in_segments(bytes, size);
        EXPECT_EQ(pieces.outcome, whole.outcome) << "in segments of " << size;
        EXPECT_EQ(pieces.body, whole.body) << "in segments of " << size;
        // Where a step ends depends on the segments only if a later byte of them is malformed.
        if (whole.outcome != Outcome::malformed) {
            EXPECT_EQ(pieces.consumed, whole.consumed) << "in segments of " << size;
        }
    }
    return whole;
}

Outcome outcome_of_decoding(std::string_view bytes) {
    return decode(bytes).outcome;
}

// A size line of this many bytes, CRLF included, and the rest of a body of "hello".
std::string body_with_size_line(std::size_t size_bytes) {
    return "5;" + std::string(size_bytes - 4, 'e') + "\r\nhello\r\n0\r\n\r\n";
}

// A body of "hello" with a trailer section of this many bytes.
std::string body_with_trailer_section(std::size_t size_bytes) {
    return "5\r\nhello\r\n0\r\nA:" + std::string(size_bytes - 6, 't') + "\r\n\r\n";
}

}  // namespace

// The status line.

TEST(AResponseHead, HasStatusReasonAndVersion) {
    const ResponseHead head = parsed("HTTP/1.1 404 Not Found\r\n\r\n");

    EXPECT_EQ(head.status, 404);
    EXPECT_EQ(head.minor_version, 1);
    EXPECT_EQ(head.status_line, "404 Not Found");
    EXPECT_EQ(head.fields_count, 0U);
}

TEST(AResponseHead, MayBeHttp10) {
    EXPECT_EQ(parsed("HTTP/1.0 200 OK\r\n\r\n").minor_version, 0);
}

TEST(AResponseHead, MayHaveALaterMinorVersion) {
    EXPECT_EQ(parsed("HTTP/1.9 200 OK\r\n\r\n").minor_version, 9);
}

TEST(AResponseHead, MayHaveAnEmptyReason) {
    EXPECT_EQ(parsed("HTTP/1.1 200 \r\n\r\n").status_line, "200 ");
}

TEST(AResponseHead, MayLackTheReasonAndTheSpaceBeforeIt) {
    const ResponseHead head = parsed("HTTP/1.1 200\r\n\r\n");

    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.status_line, "200");
}

TEST(AResponseHead, KeepsObsTextAndTabsInTheReason) {
    EXPECT_EQ(parsed("HTTP/1.1 200 d\xE9j\xC3\xA0\tvu\r\n\r\n").status_line,
              "200 d\xE9j\xC3\xA0\tvu");
}

TEST(AResponseHead, MayHaveTheLowestAndTheHighestStatus) {
    EXPECT_EQ(parsed("HTTP/1.1 100 Continue\r\n\r\n").status, 100);
    EXPECT_EQ(parsed("HTTP/1.1 599 Odd\r\n\r\n").status, 599);
}

TEST(AResponseHead, IsMalformedWhenTheStatusIsBelow100) {
    EXPECT_EQ(parse("HTTP/1.1 099 Low\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheStatusIsAbove599) {
    EXPECT_EQ(parse("HTTP/1.1 600 High\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheStatusHasFourDigits) {
    EXPECT_EQ(parse("HTTP/1.1 2000 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheStatusHasTwoDigits) {
    EXPECT_EQ(parse("HTTP/1.1 20 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheStatusIsNoNumber) {
    EXPECT_EQ(parse("HTTP/1.1 2x0 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheStatusHasASign) {
    EXPECT_EQ(parse("HTTP/1.1 +20 OK\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(parse("HTTP/1.1 -20 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheStatusIsMissing) {
    EXPECT_EQ(parse("HTTP/1.1\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(parse("HTTP/1.1 \r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTwoSpacesPrecedeTheStatus) {
    EXPECT_EQ(parse("HTTP/1.1  200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenATabPrecedesTheStatus) {
    EXPECT_EQ(parse("HTTP/1.1\t200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenATabFollowsTheStatus) {
    EXPECT_EQ(parse("HTTP/1.1 200\tOK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenItIsHttp2) {
    EXPECT_EQ(parse("HTTP/2.0 200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheMinorVersionHasTwoDigits) {
    EXPECT_EQ(parse("HTTP/1.10 200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheMinorVersionIsMissing) {
    EXPECT_EQ(parse("HTTP/1. 200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheProtocolIsInLowerCase) {
    EXPECT_EQ(parse("http/1.1 200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenAnEmptyLinePrecedesIt) {
    EXPECT_EQ(parse("\r\nHTTP/1.1 200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenWhiteSpacePrecedesIt) {
    EXPECT_EQ(parse(" HTTP/1.1 200 OK\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsKnownToBeAnotherProtocolFromTheFirstByteThatDiffers) {
    EXPECT_EQ(certain_after("SSH-2.0-OpenSSH_9.2"), 1U);
    EXPECT_EQ(certain_after("HTTP/2.0"), 6U);
}

// Its size.

TEST(AResponseHead, IsIncompleteWhileNothingHasArrived) {
    EXPECT_EQ(parse(""), Outcome::incomplete);
}

TEST(AResponseHead, IsIncompleteUntilTheEmptyLineHasArrived) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nServer: one\r\n\r"), Outcome::incomplete);
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nServer: one\r\n\r\n"), Outcome::complete);
}

TEST(AResponseHead, EndsWithTheEmptyLineAndLeavesWhatFollows) {
    const ResponseHead head = parsed("HTTP/1.1 200 OK\r\nServer: one\r\n\r\nbody\0\n"sv);

    EXPECT_EQ(head.size_bytes, "HTTP/1.1 200 OK\r\nServer: one\r\n\r\n"sv.size());
}

TEST(AResponseHead, HoldsNothingOfTheOneReadBefore) {
    ResponseHead head;
    ASSERT_EQ(parse("HTTP/1.0 404 Not Found\r\nA: 1\r\nB: 2\r\n\r\n", head), Outcome::complete);

    ASSERT_EQ(parse("HTTP/1.1 200 OK\r\nC: 3\r\n\r\n", head), Outcome::complete);

    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.minor_version, 1);
    EXPECT_EQ(head.fields_count, 1U);
    EXPECT_FALSE(head.find("A"));
}

TEST(AResponseHead, PointsIntoTheBytesItWasReadFrom) {
    const std::string bytes = "HTTP/1.1 200 OK\r\nServer: one\r\n\r\n";
    ResponseHead head;
    ASSERT_EQ(outcome_of(parse_response_head(bytes, head)), Outcome::complete);

    EXPECT_EQ(head.status_line.data(), bytes.data() + bytes.find("200"));
    EXPECT_EQ(head.fields()[0].name.data(), bytes.data() + bytes.find("Server"));
    EXPECT_EQ(head.fields()[0].value.data(), bytes.data() + bytes.find("one"));
}

// Its fields.

TEST(AResponseHead, HasItsFieldsInOrder) {
    const ResponseHead head = parsed("HTTP/1.1 200 OK\r\nB: 2\r\nA: 1\r\nB: 3\r\n\r\n");

    ASSERT_EQ(head.fields().size(), 3U);
    EXPECT_EQ(head.fields()[0].name, "B");
    EXPECT_EQ(head.fields()[0].value, "2");
    EXPECT_EQ(head.fields()[1].name, "A");
    EXPECT_EQ(head.fields()[1].value, "1");
    EXPECT_EQ(head.fields()[2].name, "B");
    EXPECT_EQ(head.fields()[2].value, "3");
}

TEST(AResponseHead, HasFieldValuesWithoutSurroundingWhiteSpace) {
    const ResponseHead head = parsed("HTTP/1.1 200 OK\r\nA: \t one\ttwo  three \t\r\n\r\n");

    EXPECT_EQ(head.find("A"), "one\ttwo  three");
}

TEST(AResponseHead, MayHaveNoWhiteSpaceAfterAColon) {
    EXPECT_EQ(parsed("HTTP/1.1 200 OK\r\nA:1\r\n\r\n").find("A"), "1");
}

TEST(AResponseHead, MayHaveAnEmptyFieldValue) {
    EXPECT_EQ(parsed("HTTP/1.1 200 OK\r\nA:\r\n\r\n").find("A"), "");
    EXPECT_EQ(parsed("HTTP/1.1 200 OK\r\nA: \t \r\n\r\n").find("A"), "");
}

TEST(AResponseHead, MayHaveColonsInAFieldValue) {
    EXPECT_EQ(parsed("HTTP/1.1 200 OK\r\nA: b:c\r\n\r\n").find("A"), "b:c");
}

TEST(AResponseHead, KeepsObsTextInAFieldValue) {
    EXPECT_EQ(parsed("HTTP/1.1 200 OK\r\nA: \x80\xFF\r\n\r\n").find("A"), "\x80\xFF");
}

TEST(AResponseHead, MayHaveEveryTokenCharacterInAFieldName) {
    EXPECT_EQ(parsed("HTTP/1.1 200 OK\r\n!#$%&'*+-.^_`|~09azAZ: v\r\n\r\n").fields_count, 1U);
}

TEST(AResponseHead, FindsTheFirstFieldOfANameWithoutRegardToCase) {
    const ResponseHead head = parsed("HTTP/1.1 200 OK\r\nServer: one\r\nSERVER: two\r\n\r\n");

    EXPECT_EQ(head.find("sErVeR"), "one");
    EXPECT_FALSE(head.find("Serve"));
    EXPECT_FALSE(head.find("Servers"));
}

TEST(AResponseHead, FindsATokenInAnyOccurrenceOfAListField) {
    const ResponseHead head =
        parsed("HTTP/1.1 200 OK\r\nConnection: a,b \t,\tKeep-Alive\r\nCONNECTION: Close\r\n\r\n");

    EXPECT_TRUE(head.has_token("Connection", "a"));
    EXPECT_TRUE(head.has_token("connection", "B"));
    EXPECT_TRUE(head.has_token("Connection", "keep-alive"));
    EXPECT_TRUE(head.has_token("Connection", "close"));
}

TEST(AResponseHead, DoesNotFindATokenThatIsOnlyPartOfAnElement) {
    const ResponseHead head = parsed("HTTP/1.1 200 OK\r\nConnection: closed, not close\r\n\r\n");

    EXPECT_FALSE(head.has_token("Connection", "close"));
}

TEST(AResponseHead, DoesNotFindATokenInAFieldOfAnotherName) {
    EXPECT_FALSE(parsed("HTTP/1.1 200 OK\r\nX: close\r\n\r\n").has_token("Connection", "close"));
}

TEST(AResponseHead, MayHaveAsManyFieldsAsThereIsRoomFor) {
    EXPECT_EQ(parsed(head_with_fields(header_fields_max)).fields_count, header_fields_max);
}

TEST(AResponseHead, IsMalformedWhenItHasOneFieldMoreThanThereIsRoomFor) {
    EXPECT_EQ(parse(head_with_fields(header_fields_max + 1)), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheStatusLineEndsInABareLineFeed) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\nA: 1\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenALineEndsInABareLineFeed) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenItEndsInABareLineFeed) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\r\n\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenALineEndsInABareCarriageReturn) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenALineEndsInTwoCarriageReturns) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\r\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenItEndsInABareCarriageReturn) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\r\n\r\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsKnownToHaveABareLineFeedAsSoonAsItArrives) {
    EXPECT_EQ(certain_after("HTTP/1.1 200 OK\nA: 1"), "HTTP/1.1 200 OK\n"sv.size());
}

TEST(AResponseHead, IsMalformedWhenAValueHoldsANul) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\0 2\r\n\r\n"sv), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenANameHoldsANul) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA\0: 1\r\n\r\n"sv), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenTheReasonHoldsANul) {
    EXPECT_EQ(parse("HTTP/1.1 200 O\0K\r\n\r\n"sv), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenAValueHoldsAnotherControlCharacter) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\x0B 2\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: \x7F\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenWhiteSpacePrecedesAColon) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nContent-Length\t: 5\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenALineIsFolded) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nA: 1\r\n\t2\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenWhiteSpacePrecedesTheFirstField) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\n A: 1\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenALineHoldsNothingButWhiteSpace) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\n \r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenALineHasNoColon) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nTransfer-Encoding chunked\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenAFieldHasNoName) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\n: 1\r\n\r\n"), Outcome::malformed);
}

TEST(AResponseHead, IsMalformedWhenANameIsNoToken) {
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\n(A): 1\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(parse("HTTP/1.1 200 OK\r\n\xE9: 1\r\n\r\n"), Outcome::malformed);
}

// Words of HTTP.

TEST(AToken, IsNeverEmpty) {
    EXPECT_FALSE(is_token(""));
}

TEST(AToken, HoldsNoWhiteSpaceNorDelimiter) {
    EXPECT_TRUE(is_token("M-SEARCH"));
    EXPECT_FALSE(is_token("GET "));
    EXPECT_FALSE(is_token("A:B"));
    EXPECT_FALSE(is_token("A\r\nB"));
}

TEST(AFieldValue, MayBeEmpty) {
    EXPECT_TRUE(is_field_value(""));
}

TEST(AFieldValue, HoldsNoControlCharacterOtherThanATab) {
    EXPECT_TRUE(is_field_value("a\tb \xFF"));
    EXPECT_FALSE(is_field_value("a\rb"));
    EXPECT_FALSE(is_field_value("a\nb"));
    EXPECT_FALSE(is_field_value("a\0b"sv));
    EXPECT_FALSE(is_field_value("a\x01"));
}

// They are looked at eight at a time.
TEST(AFieldValue, IsRefusedForTheSameBytesWhereverTheyStand) {
    for (int value = 0; value < 256; ++value) {
        const bool allowed = value == '\t' || (value >= 0x20 && value != 0x7F);
        for (std::size_t place = 0; place < 20; ++place) {
            for (const char filler : {'a', '\t', '\xFF', '~', ' '}) {
                std::string text(20, filler);
                text[place] = static_cast<char>(value);
                ASSERT_EQ(is_field_value(text), allowed)
                    << "byte " << value << " at " << place << " among " << int{filler};
            }
        }
    }
}

TEST(AList, MayHaveEmptyElements) {
    EXPECT_TRUE(list_has_token(", ,close,", "close"));
    EXPECT_FALSE(list_has_token(", ,", "close"));
    EXPECT_FALSE(list_has_token("", "close"));
}

// Where the body ends.

TEST(AResponse, EndsAtItsContentLength) {
    const auto result = framing_of_200("Content-Length: 5\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_length);
    EXPECT_EQ(result->length_bytes, 5U);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, MayHaveAContentLengthOfZero) {
    const auto result = framing_of_200("Content-Length: 0\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_length);
    EXPECT_EQ(result->length_bytes, 0U);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, EndsAtTheLastChunkWhenItIsChunked) {
    const auto result = framing_of_200("Transfer-Encoding: chunked\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_last_chunk);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, MayWriteChunkedInAnyCase) {
    const auto result = framing_of_200("transfer-encoding: Chunked\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_last_chunk);
}

TEST(AResponse, EndsWithTheConnectionWhenItHasNoFraming) {
    const auto result = framing_of_200("Connection: keep-alive\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_close);
    EXPECT_FALSE(result->keep_alive);
}

TEST(AResponse, EndsAtItsHeadWhenItAnswersHead) {
    const auto result = framing_of_200("Content-Length: 5\r\n", true);

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, EndsAtItsHeadWhenItAnswersHeadWithATransferEncoding) {
    const auto result = framing_of_200("Transfer-Encoding: chunked\r\n", true);

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, EndsAtItsHeadWhenItAnswersHeadWithoutAnyFraming) {
    const auto result = framing_of_200("", true);

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, EndsAtItsHeadWhenItIs304) {
    const auto result = framing("HTTP/1.1 304 Not Modified", "Content-Length: 5\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, EndsAtItsHeadWhenItIs204) {
    const auto result = framing("HTTP/1.1 204 No Content", "");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, EndsAtItsHeadWhenItIsInterim) {
    const auto result = framing("HTTP/1.1 100 Continue", "");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, MaySayThatA204IsEmpty) {
    const auto result = framing("HTTP/1.1 204 No Content", "Content-Length: 0\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
}

TEST(AResponse, IsMalformedWhenA204AnnouncesABody) {
    EXPECT_TRUE(is_malformed(framing("HTTP/1.1 204 No Content", "Content-Length: 5\r\n")));
    EXPECT_TRUE(is_malformed(framing("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked\r\n")));
}

TEST(AResponse, IsMalformedWhenAnInterimOneAnnouncesABody) {
    EXPECT_TRUE(is_malformed(framing("HTTP/1.1 103 Early Hints", "Content-Length: 38\r\n")));
    EXPECT_TRUE(is_malformed(framing("HTTP/1.1 100 Continue", "Transfer-Encoding: chunked\r\n")));
}

TEST(AResponse, IsMalformedWhenItHasBothALengthAndATransferEncoding) {
    EXPECT_TRUE(
        is_malformed(framing_of_200("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")));
    EXPECT_TRUE(
        is_malformed(framing_of_200("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")));
}

TEST(AResponse, IsMalformedWhenItContradictsItselfEvenWithoutABody) {
    const std::string_view both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    const std::string_view differing = "Content-Length: 5\r\nContent-Length: 6\r\n";

    EXPECT_TRUE(is_malformed(framing_of_200(both, true)));
    EXPECT_TRUE(is_malformed(framing_of_200(differing, true)));
    EXPECT_TRUE(is_malformed(framing("HTTP/1.1 304 Not Modified", both)));
    EXPECT_TRUE(is_malformed(framing("HTTP/1.1 304 Not Modified", differing)));
}

TEST(AResponse, IsMalformedWhenItHasDifferingLengths) {
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 5\r\nContent-Length: 6\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 5, 6\r\n")));
}

TEST(AResponse, IsMalformedWhenItRepeatsItsLength) {
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 5\r\ncontent-length: 5\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 5, 5\r\n")));
}

TEST(AResponse, IsMalformedWhenItsLengthIsEmpty) {
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length:\r\n")));
}

TEST(AResponse, IsMalformedWhenItsLengthHasASign) {
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: +5\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: -5\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: -0\r\n")));
}

TEST(AResponse, IsMalformedWhenItsLengthIsNotPlainDigits) {
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 0x5\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 5 6\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 5;\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: \"5\"\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 5.0\r\n")));
}

TEST(AResponse, MayHaveTheGreatestLengthThatIsAnOffset) {
    const auto result = framing_of_200("Content-Length: 9223372036854775807\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->length_bytes, 9223372036854775807U);
}

TEST(AResponse, IsMalformedWhenItsLengthIsNoOffset) {
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 9223372036854775808\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Content-Length: 18446744073709551621\r\n")));
}

TEST(AResponse, IsMalformedWhenItsTransferCodingIsNotChunked) {
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: gzip\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: identity\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: xchunked\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: \"chunked\"\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding:\r\n")));
}

TEST(AResponse, IsMalformedWhenItsTransferCodingIsMoreThanChunked) {
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: gzip, chunked\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: chunked, identity\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: chunked, chunked\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: chunked;q=1\r\n")));
    EXPECT_TRUE(is_malformed(framing_of_200("Transfer-Encoding: ,chunked\r\n")));
}

TEST(AResponse, IsMalformedWhenItHasTwoTransferEncodings) {
    EXPECT_TRUE(is_malformed(
        framing_of_200("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")));
    EXPECT_TRUE(is_malformed(
        framing_of_200("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")));
}

TEST(AResponse, IsMalformedWhenAnHttp10PeerSendsATransferEncoding) {
    EXPECT_TRUE(is_malformed(framing("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n")));
}

TEST(AResponse, EndsTheConnectionWhenItSaysClose) {
    const auto result = framing_of_200("Content-Length: 5\r\nConnection: x, Close\r\n");

    ASSERT_TRUE(result);
    EXPECT_FALSE(result->keep_alive);
}

TEST(AResponse, EndsTheConnectionWhenItSaysCloseWithoutABody) {
    const auto result = framing("HTTP/1.1 304 Not Modified", "Connection: close\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_head);
    EXPECT_FALSE(result->keep_alive);
}

TEST(AResponse, EndsTheConnectionWhenItIsHttp10) {
    const auto result = framing("HTTP/1.0 200 OK", "Content-Length: 5\r\n");

    ASSERT_TRUE(result);
    EXPECT_EQ(result->end, BodyEnd::at_length);
    EXPECT_FALSE(result->keep_alive);
}

TEST(AResponse, KeepsTheConnectionWhenItIsHttp10AndSaysKeepAlive) {
    const auto result =
        framing("HTTP/1.0 200 OK", "Content-Length: 5\r\nConnection: Keep-Alive\r\n");

    ASSERT_TRUE(result);
    EXPECT_TRUE(result->keep_alive);
}

TEST(AResponse, EndsTheConnectionWhenItSaysBothKeepAliveAndClose) {
    const auto result =
        framing("HTTP/1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive, close\r\n");

    ASSERT_TRUE(result);
    EXPECT_FALSE(result->keep_alive);
}

// The chunked coding.

TEST(AChunkedBody, IsItsChunksWithoutTheirSizes) {
    const std::string_view bytes = "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n";
    const Decoded decoded = decode(bytes);

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "hello, world");
    EXPECT_EQ(decoded.consumed, bytes.size());
}

TEST(AChunkedBody, MayBeEmpty) {
    const Decoded decoded = decode("0\r\n\r\n");

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "");
}

TEST(AChunkedBody, MayHoldAnyBytes) {
    const Decoded decoded = decode("8\r\n\r\n0\r\n\r\n\0\r\n0\r\n\r\n"sv);

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "\r\n0\r\n\r\n\0"sv);
}

TEST(AChunkedBody, HasSizesInHexadecimalOfEitherCase) {
    const Decoded decoded = decode("a\r\n0123456789\r\nB\r\n0123456789A\r\n0\r\n\r\n");

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "01234567890123456789A");
}

TEST(AChunkedBody, HasSizesOfSeveralDigits) {
    const Decoded decoded = decode("1f\r\n" + std::string(31, 'x') + "\r\n0\r\n\r\n");

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body.size(), 31U);
}

TEST(AChunkedBody, MayHaveZerosBeforeASize) {
    const Decoded decoded = decode("00000000000000000005\r\nhello\r\n000\r\n\r\n");

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "hello");
}

TEST(AChunkedBody, LeavesWhatFollowsItsEnd) {
    const Decoded decoded = decode("5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.consumed, "5\r\nhello\r\n0\r\n\r\n"sv.size());
}

TEST(AChunkedBody, ConsumesNothingAfterItsEnd) {
    ChunkedDecoder decoder;
    ASSERT_TRUE(decoder.next("0\r\n\r\n"));
    ASSERT_TRUE(decoder.done());

    const auto step = decoder.next("5\r\nhello\r\n");

    ASSERT_TRUE(step);
    EXPECT_EQ(step->consumed, 0U);
    EXPECT_TRUE(step->body.empty());
    EXPECT_TRUE(decoder.done());
}

TEST(AChunkedBody, ConsumesNothingOfNothing) {
    ChunkedDecoder decoder;

    const auto step = decoder.next("");

    ASSERT_TRUE(step);
    EXPECT_EQ(step->consumed, 0U);
    EXPECT_TRUE(step->body.empty());
    EXPECT_FALSE(decoder.done());
}

TEST(AChunkedBody, IsReturnedPieceByPieceAsViewsIntoTheInput) {
    const std::string_view input = "5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
    ChunkedDecoder decoder;

    const auto first = decoder.next(input);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->body, "hello");
    EXPECT_EQ(first->body.data(), input.data() + 3);
    EXPECT_EQ(first->consumed, 8U);

    const auto second = decoder.next(input.substr(8));
    ASSERT_TRUE(second);
    EXPECT_EQ(second->body, "you");
    EXPECT_EQ(second->consumed, 8U);
    EXPECT_FALSE(decoder.done());

    const auto last = decoder.next(input.substr(16));
    ASSERT_TRUE(last);
    EXPECT_TRUE(last->body.empty());
    EXPECT_TRUE(decoder.done());
}

TEST(AChunkedBody, IsIncompleteUntilTheLastLineFeed) {
    const Decoded decoded = decode("5\r\nhello\r\n0\r\n\r");

    EXPECT_EQ(decoded.outcome, Outcome::incomplete);
    EXPECT_EQ(decoded.body, "hello");
}

TEST(AChunkedBody, IsIncompleteWithinAChunk) {
    const Decoded decoded = decode("5\r\nhel");

    EXPECT_EQ(decoded.outcome, Outcome::incomplete);
    EXPECT_EQ(decoded.body, "hel");
}

TEST(AChunkedBody, IsIncompleteWithoutTheLastChunk) {
    EXPECT_EQ(outcome_of_decoding("5\r\nhello\r\n"), Outcome::incomplete);
}

TEST(AChunkedBody, GivesWhatPrecedesAnError) {
    const Decoded decoded = decode("5\r\nhello\r\nx");

    EXPECT_EQ(decoded.outcome, Outcome::malformed);
    EXPECT_EQ(decoded.body, "hello");
}

TEST(AChunkedBody, StaysMalformed) {
    ChunkedDecoder decoder;
    ASSERT_FALSE(decoder.next("x"));

    EXPECT_FALSE(decoder.next("0\r\n\r\n"));
    EXPECT_FALSE(decoder.done());
}

TEST(AChunkedBody, IsMalformedWhenASizeIsMissing) {
    EXPECT_EQ(outcome_of_decoding("\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding(";a=b\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenASizeIsNotPlainHexadecimal) {
    EXPECT_EQ(outcome_of_decoding("0x5\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("+5\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("-5\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("5g\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("5,5\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenWhiteSpaceSurroundsASize) {
    EXPECT_EQ(outcome_of_decoding(" 5\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("5 \r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("5\t\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("5 ;a=b\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, MayHaveAChunkOfTheGreatestSize) {
    const Decoded decoded = decode("7fffffffffffffff\r\nhello");

    EXPECT_EQ(decoded.outcome, Outcome::incomplete);
    EXPECT_EQ(decoded.body, "hello");
}

TEST(AChunkedBody, IsMalformedWhenASizeExceedsTheGreatest) {
    EXPECT_EQ(outcome_of_decoding("8000000000000000\r\nhello"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("ffffffffffffffff\r\nhello"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenASizeWouldWrapAround) {
    EXPECT_EQ(outcome_of_decoding("10000000000000005\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenASizeEndsInABareLineFeed) {
    EXPECT_EQ(outcome_of_decoding("5\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenASizeEndsInABareCarriageReturn) {
    EXPECT_EQ(outcome_of_decoding("5\rhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("5\r\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenAChunkIsLongerThanItsSize) {
    EXPECT_EQ(outcome_of_decoding("4\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenAChunkIsShorterThanItsSize) {
    EXPECT_EQ(outcome_of_decoding("6\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenAChunkEndsInABareLineFeed) {
    EXPECT_EQ(outcome_of_decoding("5\r\nhello\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenAChunkEndsInABareCarriageReturn) {
    EXPECT_EQ(outcome_of_decoding("5\r\nhello\r0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenNothingSeparatesTwoChunks) {
    EXPECT_EQ(outcome_of_decoding("5\r\nhello0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, MayHaveExtensions) {
    const Decoded decoded = decode("5;a=b;c=\"d \t\xE9\"\r\nhello\r\n0;last\r\n\r\n");

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "hello");
}

TEST(AChunkedBody, IsMalformedWhenAnExtensionEndsInABareLineFeed) {
    EXPECT_EQ(outcome_of_decoding("5;\nhello\r\n0\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenAnExtensionHoldsABareCarriageReturn) {
    EXPECT_EQ(outcome_of_decoding("5;a\rb\r\nhello\r\n0\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenAnExtensionHoldsAControlCharacter) {
    EXPECT_EQ(outcome_of_decoding("5;a\0\r\nhello\r\n0\r\n\r\n"sv), Outcome::malformed);
}

TEST(AChunkedBody, MayHaveAnExtensionUpToTheLimit) {
    const Decoded decoded = decode(body_with_size_line(chunk_overhead_bytes_max));

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "hello");
}

TEST(AChunkedBody, IsMalformedWhenAnExtensionExceedsTheLimit) {
    const std::string body = body_with_size_line(chunk_overhead_bytes_max + 1);

    EXPECT_EQ(outcome_of_decoding(body), Outcome::malformed);
}

TEST(AChunkedBody, MayHaveExtensionsThatExceedTheLimitOnlyTogether) {
    const std::string chunk = "1;" + std::string(3000, 'e') + "\r\nx\r\n";
    const Decoded decoded = decode(chunk + chunk + chunk + chunk + "0\r\n\r\n");

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "xxxx");
}

TEST(AChunkedBody, IsMalformedWhenTheZerosBeforeASizeExceedTheLimit) {
    const std::string body = std::string(chunk_overhead_bytes_max, '0') + "\r\n\r\n";

    EXPECT_EQ(outcome_of_decoding(body), Outcome::malformed);
}

TEST(AChunkedBody, MayHaveTrailers) {
    const std::string_view bytes = "5\r\nhello\r\n0\r\nA: 1\r\nB:\r\n\r\n";
    const Decoded decoded = decode(bytes);

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "hello");
    EXPECT_EQ(decoded.consumed, bytes.size());
}

TEST(AChunkedBody, MayHaveATrailerSectionUpToTheLimit) {
    const Decoded decoded = decode(body_with_trailer_section(chunk_overhead_bytes_max));

    EXPECT_EQ(decoded.outcome, Outcome::complete);
    EXPECT_EQ(decoded.body, "hello");
}

TEST(AChunkedBody, IsMalformedWhenTheTrailerSectionExceedsTheLimit) {
    const std::string body = body_with_trailer_section(chunk_overhead_bytes_max + 1);

    EXPECT_EQ(outcome_of_decoding(body), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenManySmallTrailersExceedTheLimit) {
    std::string body = "0\r\n";
    for (std::size_t index = 0; index <= chunk_overhead_bytes_max / 5; ++index) {
        body += "A:b\r\n";
    }

    EXPECT_EQ(outcome_of_decoding(body + "\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenATrailerIsNotAFieldLine) {
    EXPECT_EQ(outcome_of_decoding("0\r\nGET / HTTP/1.1\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("0\r\nA\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("0\r\nA : 1\r\n\r\n"), Outcome::malformed);
    EXPECT_EQ(outcome_of_decoding("0\r\n: 1\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenATrailerIsFolded) {
    EXPECT_EQ(outcome_of_decoding("0\r\nA: 1\r\n 2\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenATrailerEndsInABareLineFeed) {
    EXPECT_EQ(outcome_of_decoding("0\r\nA: 1\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenATrailerEndsInABareCarriageReturn) {
    EXPECT_EQ(outcome_of_decoding("0\r\nA: 1\rB: 2\r\n\r\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenATrailerHoldsANul) {
    EXPECT_EQ(outcome_of_decoding("0\r\nA: \0\r\n\r\n"sv), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenItEndsInABareLineFeed) {
    EXPECT_EQ(outcome_of_decoding("0\r\n\n"), Outcome::malformed);
}

TEST(AChunkedBody, IsMalformedWhenItEndsInABareCarriageReturn) {
    EXPECT_EQ(outcome_of_decoding("0\r\n\rX"), Outcome::malformed);
}

}  // namespace backhand
