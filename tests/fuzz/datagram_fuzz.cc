// Fuzzes the reader of announcements: whatever arrives, it is either dropped or read as something
// that can be; signed, the same is read of it; and what was read can be announced again and reads
// the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "announce/datagram.h"
#include "base/text.h"
#include "cluster/report_fields.h"
#include "known_keys.h"

namespace {

using backhand::Counter;
using backhand::KeyRing;
using backhand::keys;
using backhand::LoadReport;
using backhand::require;
using backhand::ServerReport;

using Bytes = std::vector<std::uint8_t>;

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char letter) { return letter >= ' '; });
}

std::vector<std::string> sites_of(const ServerReport& report) {
    std::vector<std::string> sites(1);
    for (const char letter : report.services_view()) {
        if (letter == ' ') {
            sites.emplace_back();
        } else {
            sites.back() += letter;
        }
    }
    std::erase(sites, "");
    return sites;
}

void require_possible(const ServerReport& report) {
    const LoadReport& load = report.load;
    for (const backhand::ReportField& field : backhand::report_fields) {
        require(field.get(load) >= field.least && field.get(load) <= field.most);
    }
    require(load.memory_available_bytes <= load.memory_total_bytes);
    require(load.workers_busy <= load.workers_max && load.workers_idle <= load.workers_max);
    require(load.contact.port != 0 && !load.contact.address.is_multicast());
    require(!report.name_view().empty());
    require(report.services_count <= ServerReport::services_max);
    for (const char letter :
         std::string{report.name_view()} + std::string{report.services_view()}) {
        require(static_cast<unsigned char>(letter) >= ' ' && letter != '\x7f');
    }
}

void require_same(const LoadReport& left, const LoadReport& right) {
    require(left.boot_id == right.boot_id && left.measurement == right.measurement);
    require(left.contact == right.contact);
    require((left.flags | backhand::implausible) == (right.flags | backhand::implausible));
    for (const backhand::ReportField& field : backhand::report_fields) {
        require(field.get(left) == field.get(right));
    }
}

void announce_again(const ServerReport& report, const KeyRing* ring) {
    const std::vector<std::string> sites = sites_of(report);
    const Bytes again = backhand::encode_datagram(report, sites, ring);
    require(again.size() <= backhand::datagram_bytes_max);

    ServerReport reread;
    require(!backhand::decode_datagram(again, ring, reread));

    require_same(report.load, reread.load);
    require(!reread.load.has(backhand::implausible));
    // Names need not be text; where they are not, something else is announced for it.
    require(reread.name_view() == report.name_view() || !is_ascii(report.name_view()));
    require(reread.services_count <= sites.size());
    for (std::size_t index = 0; index < reread.services_count; ++index) {
        require(reread.offers(backhand::hash_ignoring_case(sites[index])));
    }
}

// As a member would send it that wrote these bytes.
Bytes signed_copy(Bytes datagram) {
    datagram[5] = keys().signing_id();
    const backhand::Tag tag = keys().sign(backhand::KeyPurpose::announcement, datagram);
    datagram.insert(datagram.end(), tag.begin(), tag.end());
    return datagram;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes datagram(data, data + size);
    ServerReport report;
    // Nobody guesses a tag.
    require(backhand::decode_datagram(datagram, &keys(), report).has_value());

    const auto fault = backhand::decode_datagram(datagram, nullptr, report);
    if (!fault) {
        require_possible(report);
        announce_again(report, nullptr);
    }

    if (size <= backhand::datagram_header_bytes ||
        size + backhand::tag_bytes > backhand::datagram_bytes_max) {
        return 0;
    }
    const bool unsigned_itself = datagram[5] == 0;
    ServerReport of_member;
    const auto members_fault = backhand::decode_datagram(signed_copy(datagram), &keys(), of_member);
    require(!unsigned_itself || members_fault == fault);
    if (!members_fault) {
        require_possible(of_member);
        announce_again(of_member, &keys());
        if (unsigned_itself) {
            require_same(report.load, of_member.load);
        }
    }
    return 0;
}
