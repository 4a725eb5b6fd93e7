#include "announce/cbor.h"

#include <bit>
#include <cmath>
#include <limits>

namespace backhand {

namespace {

using Kind = CborItem::Kind;

// Of the initial byte (section 3): the upper three bits and the lower five.
constexpr unsigned information_bits = 5;
constexpr unsigned information_mask = 0x1F;
constexpr unsigned one_byte_follows = 24;
constexpr unsigned eight_bytes_follow = 27;
constexpr unsigned indefinite = 31;

// Section 3.3.
constexpr unsigned simple_false = 20;
constexpr unsigned simple_true = 21;
constexpr unsigned half_follows = 25;
constexpr unsigned single_follows = 26;
constexpr unsigned double_follows = 27;

enum Major : unsigned { natural, negative, bytes, text, list, map, tag, simple };

// Appendix D.
double from_half(std::uint64_t half) {
    const int exponent = static_cast<int>(half >> 10U & 0x1FU);
    const auto fraction = static_cast<double>(half & 0x3FFU);
    double value = 0;
    if (exponent == 0) {
        value = std::ldexp(fraction, -24);
    } else if (exponent != 31) {
        value = std::ldexp(fraction + 1024, exponent - 25);
    } else {
        value = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
    }
    return (half & 0x8000U) != 0 ? -value : value;
}

}  // namespace

std::optional<CborItem> CborReader::next() {
    const auto initial = take_number(1);
    if (!initial) {
        return std::nullopt;
    }
    const auto major = static_cast<unsigned>(*initial >> information_bits);
    const auto information = static_cast<unsigned>(*initial & information_mask);
    if (major == Major::simple) {
        return read_simple(information);
    }
    CborItem item;
    if (information == indefinite) {
        item.kind = major == Major::list ? Kind::list : Kind::map;
        item.open = true;
        return major == Major::list || major == Major::map ? std::optional{item} : std::nullopt;
    }
    item.number = information;
    if (information >= one_byte_follows) {
        const auto number = information <= eight_bytes_follow
                                ? take_number(std::size_t{1} << (information - one_byte_follows))
                                : std::nullopt;
        if (!number) {
            return std::nullopt;
        }
        item.number = *number;
    }
    switch (major) {
        case Major::natural:
            item.kind = Kind::natural;
            return item;
        case Major::negative:
            item.kind = Kind::negative;
            return item;
        case Major::bytes:
        case Major::text:
            if (item.number > bytes_.size()) {
                return std::nullopt;
            }
            item.kind = major == Major::text ? Kind::text : Kind::bytes;
            item.text = {reinterpret_cast<const char*>(bytes_.data()), item.number};
            bytes_ = bytes_.subspan(item.text.size());
            return item;
        case Major::list:
            item.kind = Kind::list;
            return item;
        case Major::map:
            item.kind = Kind::map;
            return item;
        default:
            return std::nullopt;
    }
}

bool CborReader::skip_within(const CborItem& item, int depth_left) {
    if (item.kind == Kind::end) {
        return false;  // where a value must stand
    }
    if (item.kind != Kind::list && item.kind != Kind::map) {
        return true;
    }
    if (depth_left == 0) {
        return false;
    }
    const std::uint64_t items_each = item.kind == Kind::map ? 2 : 1;
    for (std::uint64_t done = 0; item.open || done < item.number; ++done) {
        for (std::uint64_t part = 0; part < items_each; ++part) {
            const auto inner = next();
            if (inner && item.open && part == 0 && inner->kind == Kind::end) {
                return true;
            }
            if (!inner || !skip_within(*inner, depth_left - 1)) {
                return false;
            }
        }
    }
    return true;
}

std::optional<CborItem> CborReader::read_simple(unsigned information) {
    CborItem item;
    switch (information) {
        case simple_false:
        case simple_true:
            item.kind = Kind::truth;
            item.number = information - simple_false;
            return item;
        case indefinite:
            item.kind = Kind::end;
            return item;
        case half_follows:
        case single_follows:
        case double_follows:
            break;
        case one_byte_follows:
            return take_number(1) ? std::optional{item} : std::nullopt;
        default:
            return information < one_byte_follows ? std::optional{item} : std::nullopt;
    }
    const auto number = take_number(std::size_t{1} << (information - one_byte_follows));
    if (!number) {
        return std::nullopt;
    }
    item.kind = Kind::real;
    item.real = information == half_follows ? from_half(*number)
                : information == single_follows
                    ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(*number)))
                    : std::bit_cast<double>(*number);
    return item;
}

// Big-endian.
std::optional<std::uint64_t> CborReader::take_number(std::size_t size) {
    if (bytes_.size() < size) {
        return std::nullopt;
    }
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes_.first(size)) {
        value = value << 8U | byte;
    }
    bytes_ = bytes_.subspan(size);
    return value;
}

void CborWriter::natural(std::uint64_t number) {
    head(Major::natural, number);
}

void CborWriter::text(std::string_view utf8) {
    head(Major::text, utf8.size());
    bytes_.insert(bytes_.end(), utf8.begin(), utf8.end());
}

void CborWriter::truth(bool value) {
    head(Major::simple, value ? simple_true : simple_false);
}

void CborWriter::list(std::uint64_t items) {
    head(Major::list, items);
}

void CborWriter::map(std::uint64_t pairs) {
    head(Major::map, pairs);
}

// Numbers below 24 stand in the initial byte, others in the 1, 2, 4 or 8 that follow.
void CborWriter::head(unsigned major, std::uint64_t number) {
    const auto put = [this](std::uint64_t byte) {
        bytes_.push_back(static_cast<std::uint8_t>(byte));
    };
    if (number < one_byte_follows) {
        put(major << information_bits | number);
        return;
    }
    unsigned size_log2 = 0;
    while (size_log2 < 3 && number >> (8U << size_log2) != 0) {
        ++size_log2;
    }
    put(major << information_bits | (one_byte_follows + size_log2));
    for (unsigned shift = 8U << size_log2; shift != 0;) {
        shift -= 8;
        put(number >> shift);
    }
}

}  // namespace backhand
