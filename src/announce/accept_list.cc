#include "announce/accept_list.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include "base/text.h"

namespace backhand {

namespace {

constexpr unsigned address_bits = 128;

// How many bits of an IPv4 address are the same in all: its IPv4-mapped form begins with them.
constexpr unsigned v4_leading_bits = 96;

constexpr std::size_t v4_first_byte = 12;

Error malformed(std::string_view value, const std::string& what) {
    return {Error::Kind::malformed, "\"" + std::string{value} + "\": " + what};
}

Error unknown_form(std::string_view value) {
    return malformed(value,
                     "expected ip, ip/mask, ip/prefix or the beginning of an ip, for example "
                     "10.0.5.1, 10.0.5.0/255.255.255.0, 10.0.5.0/24, 10.0 or 2001:db8:5::/48");
}

IpPrefix prefix_of(const IpAddress& address, unsigned bits) {
    return {address, static_cast<std::uint8_t>(bits)};
}

// The address with every bit behind `bits` cleared.
IpAddress network_of(IpAddress address, unsigned bits) {
    for (unsigned index = bits; index < address_bits; ++index) {
        const unsigned kept = ~(0x80U >> (index % 8));
        address.bytes[index / 8] = static_cast<std::uint8_t>(address.bytes[index / 8] & kept);
    }
    return address;
}

// One to three octets, "10.0" or "10.0.".
std::optional<IpPrefix> parse_beginning(std::string_view text) {
    constexpr std::size_t octets_max = 3;

    if (text.ends_with('.')) {
        text.remove_suffix(1);
    }
    IpAddress address = *IpAddress::parse("0.0.0.0");
    std::size_t octets_count = 0;
    for (bool more = true; more; ++octets_count) {
        const std::size_t dot = text.find('.');
        const std::string_view digits = text.substr(0, dot);
        const auto octet = parse_number<std::uint8_t>(digits);
        // As in a whole address, 010 is refused: some read it as octal.
        const bool padded = digits.size() > 1 && digits.front() == '0';
        if (octets_count == octets_max || !octet || padded) {
            return std::nullopt;
        }
        address.bytes[v4_first_byte + octets_count] = *octet;
        more = dot != std::string_view::npos;
        text.remove_prefix(more ? dot + 1 : text.size());
    }
    return prefix_of(address, v4_leading_bits + static_cast<unsigned>(octets_count) * 8);
}

// How many ones "255.255.255.0" begins with; nothing if ones follow a zero.
std::optional<unsigned> mask_ones(const IpAddress& mask) {
    std::uint32_t bits = 0;
    for (std::size_t index = v4_first_byte; index < mask.bytes.size(); ++index) {
        bits = bits << 8U | mask.bytes[index];
    }
    const auto ones = static_cast<unsigned>(std::countl_one(bits));
    if (static_cast<unsigned>(std::popcount(bits)) != ones) {
        return std::nullopt;
    }
    return ones;
}

// The part behind the slash, as a number of bits of 128.
Result<unsigned> parse_mask(std::string_view value, const IpAddress& address,
                            std::string_view text) {
    const unsigned leading = address.is_v4() ? v4_leading_bits : 0;

    if (const auto mask = IpAddress::parse(text); mask && mask->is_v4() && address.is_v4()) {
        const auto ones = mask_ones(*mask);
        if (!ones) {
            return malformed(value,
                             "the mask must be ones and then zeros, for example "
                             "255.255.255.0");
        }
        return leading + *ones;
    }
    const auto bits = parse_number<unsigned>(text);
    if (!bits || *bits > address_bits - leading) {
        return malformed(
            value, address.is_v4()
                       ? "the part behind the slash must be a prefix length from 0 to 32 or a "
                         "mask, for example " +
                             to_string(prefix_of(network_of(address, 120), 120)) +
                             " or 10.0.5.0/255.255.255.0"
                       : "the part behind the slash must be a prefix length from 0 to 128, for "
                         "example " +
                             to_string(prefix_of(network_of(address, 64), 64)));
    }
    return leading + *bits;
}

Result<IpPrefix> parse_masked(std::string_view value, std::size_t slash) {
    const auto address = IpAddress::parse(value.substr(0, slash));
    if (!address) {
        // "10.0/16" is understood by some, and means something else to others.
        const auto beginning = parse_beginning(value.substr(0, slash));
        return beginning ? malformed(value, "the beginning of an ip takes no mask; expected " +
                                                to_string(*beginning) + " or another whole ip")
                         : unknown_form(value);
    }
    const auto bits = parse_mask(value, *address, value.substr(slash + 1));
    if (!bits) {
        return bits.error();
    }
    const IpPrefix network = prefix_of(network_of(*address, *bits), *bits);
    if (network.address != *address) {
        return malformed(value, address->to_string() + " has bits behind the mask; expected " +
                                    to_string(network) + " for the network or " +
                                    address->to_string() + " for one address");
    }
    return network;
}

Result<IpPrefix> parse_form(std::string_view value) {
    if (const std::size_t slash = value.find('/'); slash != std::string_view::npos) {
        return parse_masked(value, slash);
    }
    if (const auto address = IpAddress::parse(value)) {
        return prefix_of(*address, address_bits);
    }
    if (const auto beginning = parse_beginning(value)) {
        return *beginning;
    }
    return unknown_form(value);
}

}  // namespace

Result<IpPrefix> parse_accept(std::string_view value) {
    auto prefix = parse_form(value);
    if (prefix && prefix->address.is_multicast()) {
        return malformed(value,
                         "nothing is ever sent from a multicast address; expected the "
                         "address of a server, for example 10.0.5.1");
    }
    return prefix;
}

std::string to_string(const IpPrefix& prefix) {
    std::string text = prefix.address.to_string();
    if (prefix.bits < address_bits) {
        const unsigned leading = prefix.address.is_v4() ? v4_leading_bits : 0;
        text += "/" + std::to_string(prefix.bits - leading);
    }
    return text;
}

void AcceptList::add(const IpPrefix& prefix) {
    if (std::find(prefixes_.begin(), prefixes_.end(), prefix) == prefixes_.end()) {
        prefixes_.push_back(prefix);
    }
}

bool AcceptList::contains(const IpAddress& address) const {
    return std::any_of(prefixes_.begin(), prefixes_.end(), [&](const IpPrefix& prefix) {
        return prefix.address.is_v4() == address.is_v4() && prefix.contains(address);
    });
}

}  // namespace backhand
