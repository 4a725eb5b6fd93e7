#include "cli/arguments.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include <unistd.h>

#include "base/address.h"
#include "base/text.h"

namespace backhand {

namespace {

constexpr std::string_view blanks = " \t";

void append_words(std::string_view text, std::vector<std::string>& words) {
    for (auto begin = text.find_first_not_of(blanks); begin != std::string_view::npos;) {
        const auto end = text.find_first_of(blanks, begin);
        words.emplace_back(text.substr(begin, end - begin));
        begin = text.find_first_not_of(blanks, end);
    }
}

Error of_option(std::string_view option, const Error& error) {
    return {error.kind, std::string{option} + " " + error.detail};
}

}  // namespace

Error bad_value(std::string_view option, std::string_view value, std::string_view expected) {
    std::string detail{option};
    detail.append(" \"").append(value).append("\": expected ").append(expected);
    return {Error::Kind::malformed, detail};
}

Result<std::uint64_t> read_number(std::string_view option, std::string_view value,
                                  const NumberRange& range) {
    const auto number = parse_number<std::uint64_t>(value);
    if (!number || *number < range.least || *number > range.most) {
        std::string expected = "a whole number from " + std::to_string(range.least) + " to " +
                               std::to_string(range.most);
        if (!range.unit.empty()) {
            expected.append(" (").append(range.unit).append(")");
        }
        return bad_value(option, value, expected);
    }
    return *number;
}

Result<std::vector<Destination>> read_destinations(std::string_view option,
                                                   std::span<const std::string> typed,
                                                   const std::string& from) {
    if (!from.empty() && !IpAddress::parse(from)) {
        return bad_value("--from", from, "an IP address of this machine, for example 10.0.5.10");
    }
    std::vector<std::string> words;
    for (const std::string& text : typed) {
        append_words(text, words);
    }
    if (words.empty()) {
        return bad_value(option, typed.empty() ? std::string_view{} : typed.front(),
                         "[my-ip] dest-ip:port[,ttl], for example 239.220.221.20:4445");
    }

    std::vector<Destination> destinations;
    for (std::size_t index = 0; index < words.size(); ++index) {
        // An address without a port is that of this machine; its destination follows.
        const bool has_own = IpAddress::parse(words[index]) && index + 1 < words.size();
        const std::string own = has_own ? words[index++] : from;
        const auto destination = own.empty() ? parse_destination(words[index], {})
                                             : parse_destination(own, words[index]);
        if (!destination) {
            return of_option(option, destination.error());
        }
        destinations.push_back(*destination);
    }
    return destinations;
}

Result<std::optional<KeyRing>> read_keys(std::span<const std::string> files) {
    if (files.empty()) {
        return std::optional<KeyRing>{};
    }
    std::vector<std::string> paths;
    for (const std::string& file : files) {
        std::error_code failure;
        const auto path = std::filesystem::absolute(file, failure);
        if (file.empty() || failure) {
            return bad_value("--key", file, "a file that holds a key");
        }
        paths.push_back(path.lexically_normal().string());
    }
    auto keys = KeyRing::load(paths, ::geteuid());
    if (!keys) {
        return Error{Error::Kind::refused, "--key " + keys.error().detail};
    }
    return std::optional<KeyRing>{std::move(*keys)};
}

}  // namespace backhand
