// CBOR (RFC 8949), item by item: read without copying and without allocating, and written.
//
// Why not the library that makes our JSON: it looks at every byte through three layers, 9 us for a
// datagram of 600 bytes, of which a moderator reads a thousand a second, and writes fifty out of a
// tree of a hundred little allocations; this takes a tenth.
//
// Read is what a report needs: numbers, text, truth values, lists and maps, of definite length or
// not.  Byte strings and simple values can be skipped; tags and strings in pieces are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace backhand {

struct CborItem {
    enum class Kind : std::uint8_t {
        natural,   // `number`
        negative,  // -1 - `number`
        real,      // `real`
        text,      // `text`, any bytes
        bytes,
        list,   // `number` items follow, or `open`: until an `end`
        map,    // `number` pairs follow, or `open`
        truth,  // `number` is 0 or 1
        other,  // null, undefined, a simple value
        end,    // of an open list or map
    };

    Kind kind = Kind::other;
    bool open = false;
    std::uint64_t number = 0;
    double real = 0;
    std::string_view text;
};

class CborReader {
public:
    static constexpr int depth_max = 8;

    explicit CborReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    bool at_end() const { return bytes_.empty(); }

    // The next item; of a list or map only its beginning.  nullopt: malformed, refused, or cut off.
    std::optional<CborItem> next();

    // Passes over what belongs to `item`, which next() has returned.  False as for next(), or if
    // lists and maps are nested deeper than depth_max.
    bool skip(const CborItem& item) { return skip_within(item, depth_max); }

private:
    std::optional<std::uint64_t> take_number(std::size_t size);
    std::optional<CborItem> read_simple(unsigned information);
    bool skip_within(const CborItem& item, int depth_left);

    std::span<const std::uint8_t> bytes_;
};

// Appends items to `bytes`, numbers as short as they can be.  What list() and map() promise has to
// follow.
class CborWriter {
public:
    explicit CborWriter(std::vector<std::uint8_t>& bytes) : bytes_(bytes) {}

    void natural(std::uint64_t number);
    void text(std::string_view utf8);
    void truth(bool value);
    void list(std::uint64_t items);
    void map(std::uint64_t pairs);

private:
    void head(unsigned major, std::uint64_t number);

    std::vector<std::uint8_t>& bytes_;
};

}  // namespace backhand
