#include "announce/datagram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "announce/cbor.h"
#include "base/big_endian.h"
#include "base/utf8.h"
#include "cluster/report_fields.h"

namespace backhand {

namespace {

constexpr std::array<std::uint8_t, 4> magic = {'B', 'H', 'N', 'D'};
constexpr std::size_t version_offset = 4;
constexpr std::size_t key_id_offset = 5;
constexpr std::size_t boot_id_offset = 8;
constexpr std::size_t measurement_offset = 16;

void append_big_endian(std::vector<std::uint8_t>& out, std::uint64_t number) {
    out.resize(out.size() + sizeof number);
    put_big_endian(std::span{out}.last(sizeof number), number);
}

// What a page, a terminal or a log may show as it is.  A control character is in no host's name.
bool is_showable(std::string_view text) {
    return !text.empty() && std::none_of(text.begin(), text.end(), [](char letter) {
        return static_cast<unsigned char>(letter) < ' ' || letter == '\x7f';
    });
}

// ---- writing ----

std::uint64_t value_of(const ReportField& field, const LoadReport& load) {
    return std::clamp(field.get(load), field.least, field.most);
}

// What is as if it were missing is left out.
bool is_said(const ReportField& field, const LoadReport& load) {
    constexpr LoadReport missing;
    return value_of(field, load) != field.get(missing);
}

// As many as there is room for, in full: a name takes its bytes and at most 3 for their number.
std::span<const std::string> fitting(std::span<const std::string> services, std::size_t room) {
    std::size_t count = 0;
    while (count < services.size() && count < ServerReport::services_max &&
           services[count].size() + 3 <= room) {
        room -= services[count].size() + 3;
        ++count;
    }
    return services.first(count);
}

void write_report(const ServerReport& report, std::span<const std::string> services,
                  std::size_t bytes_max, std::vector<std::uint8_t>& out) {
    constexpr std::size_t list_head_bytes = 3;
    const LoadReport& load = report.load;
    const auto numbers =
        std::count_if(report_fields.begin(), report_fields.end(),
                      [&load](const ReportField& field) { return is_said(field, load); });
    const auto flags =
        std::count_if(report_flags.begin(), report_flags.end(),
                      [&load](const ReportFlag& flag) { return load.has(flag.flag); });

    CborWriter cbor{out};
    cbor.map(3 + static_cast<std::uint64_t>(numbers + flags));
    cbor.text("name");
    cbor.text(as_utf8(report.name_view()));
    cbor.text("contact");
    cbor.text(load.contact.to_string());
    for (const ReportField& field : report_fields) {
        if (is_said(field, load)) {
            cbor.text(field.name);
            cbor.natural(value_of(field, load));
        }
    }
    for (const ReportFlag& flag : report_flags) {
        if (load.has(flag.flag)) {
            cbor.text(flag.name);
            cbor.truth(true);
        }
    }
    cbor.text("services");
    const std::size_t used = out.size() + list_head_bytes;
    const auto sites = fitting(services, bytes_max - std::min(bytes_max, used));
    cbor.list(sites.size());
    for (const std::string& site : sites) {
        cbor.text(site);
    }
}

// ---- reading ----

// What can follow a key of the map.
struct KnownKey {
    enum class Kind { skipped, name, contact, services, number, flag };

    std::string_view text;
    Kind kind = Kind::skipped;
    std::size_t index = 0;  // in report_fields or report_flags
};

// In the order that we write them in.
constexpr auto known_keys = [] {
    std::array<KnownKey, 3 + report_fields.size() + report_flags.size()> keys{};
    std::size_t count = 0;
    keys[count++] = {"name", KnownKey::Kind::name};
    keys[count++] = {"contact", KnownKey::Kind::contact};
    for (std::size_t index = 0; index < report_fields.size(); ++index) {
        keys[count++] = {report_fields[index].name, KnownKey::Kind::number, index};
    }
    for (std::size_t index = 0; index < report_flags.size(); ++index) {
        keys[count++] = {report_flags[index].name, KnownKey::Kind::flag, index};
    }
    keys[count++] = {"services", KnownKey::Kind::services};
    return keys;
}();

// Takes the fields of the map into a report.
class ReportReader {
public:
    // `sites` takes the names in full, which the report does not; nullptr: nobody wants them.
    ReportReader(std::span<const std::uint8_t> body, ServerReport& report,
                 std::vector<std::string>* sites)
        : cbor_(body),
          report_(report),
          sites_(sites) {}

    // False: malformed, or without a name or a contact, which an announcement cannot do without.
    bool read() {
        const auto map = cbor_.next();
        if (!map || map->kind != CborItem::Kind::map) {
            return false;
        }
        for (std::uint64_t done = 0; map->open || done < map->number; ++done) {
            const auto key = cbor_.next();
            if (key && map->open && key->kind == CborItem::Kind::end) {
                break;
            }
            if (!key || key->kind != CborItem::Kind::text || !read_value(find(key->text))) {
                return false;
            }
        }
        return cbor_.at_end() && named_ && contact_seen_;
    }

private:
    // Keys nearly always come in our order: those after the last one are looked at first.
    KnownKey find(std::string_view text) {
        for (std::size_t tried = 0; tried < known_keys.size(); ++tried) {
            const KnownKey& key = known_keys[next_];
            next_ = next_ + 1 < known_keys.size() ? next_ + 1 : 0;
            if (key.text == text) {
                return key;
            }
        }
        return {};
    }

    bool read_value(const KnownKey& key) {
        const auto value = cbor_.next();
        if (!value) {
            return false;
        }
        switch (key.kind) {
            case KnownKey::Kind::name:
                return set_name(*value);
            case KnownKey::Kind::contact:
                return set_contact(*value);
            case KnownKey::Kind::services:
                return read_services(*value);
            case KnownKey::Kind::number:
                return set_number(report_fields[key.index], *value);
            case KnownKey::Kind::flag:
                return set_flag(report_flags[key.index].flag, *value);
            case KnownKey::Kind::skipped:
                break;
        }
        return cbor_.skip(*value);
    }

    bool set_name(const CborItem& value) {
        named_ = value.kind == CborItem::Kind::text && is_showable(value.text);
        if (named_) {
            report_.set_name(value.text);
        }
        return named_;
    }

    bool set_contact(const CborItem& value) {
        const auto endpoint =
            value.kind == CborItem::Kind::text ? Endpoint::parse(value.text) : std::nullopt;
        contact_seen_ = endpoint && endpoint->address.leads_to_one_host();
        if (contact_seen_) {
            report_.load.contact = *endpoint;
        }
        return contact_seen_;
    }

    bool read_services(const CborItem& list) {
        if (list.kind != CborItem::Kind::list) {
            return false;
        }
        for (std::uint64_t done = 0; list.open || done < list.number; ++done) {
            const auto site = cbor_.next();
            if (site && list.open && site->kind == CborItem::Kind::end) {
                break;
            }
            if (!site || !add_site(*site)) {
                return false;
            }
        }
        return true;
    }

    bool add_site(const CborItem& site) {
        if (site.kind != CborItem::Kind::text || !is_showable(site.text) ||
            !report_.add_service(site.text)) {
            return false;
        }
        if (sites_ != nullptr) {
            sites_->emplace_back(site.text);
        }
        return true;
    }

    // Cut to what the field can be.
    bool set_number(const ReportField& field, const CborItem& value) {
        std::uint64_t possible = field.least;
        bool as_said = false;
        switch (value.kind) {
            case CborItem::Kind::natural:
                possible = std::clamp(value.number, field.least, field.most);
                as_said = possible == value.number;
                break;
            case CborItem::Kind::negative:
                break;
            case CborItem::Kind::real:
                if (value.real >= static_cast<double>(field.most)) {
                    possible = field.most;
                } else if (value.real > static_cast<double>(field.least)) {  // which a NaN is not
                    possible = static_cast<std::uint64_t>(value.real);
                }
                as_said = static_cast<double>(possible) == std::trunc(value.real);
                break;
            default:
                return false;
        }
        field.set(report_.load, possible);
        if (!as_said) {
            report_.load.flags |= implausible;
        }
        return true;
    }

    bool set_flag(ServerFlag flag, const CborItem& value) {
        if (value.number != 0) {
            report_.load.flags |= flag;
        }
        return value.kind == CborItem::Kind::truth;
    }

    CborReader cbor_;
    ServerReport& report_;
    std::vector<std::string>* const sites_;
    std::size_t next_ = 0;  // in known_keys
    bool named_ = false;
    bool contact_seen_ = false;
};

// What contradicts itself is cut as well.
void reconcile(LoadReport& load) {
    const auto cut = [&load](auto& number, auto most) {
        if (number > most) {
            number = most;
            load.flags |= implausible;
        }
    };
    cut(load.memory_available_bytes, load.memory_total_bytes);
    cut(load.workers_busy, load.workers_max);
    cut(load.workers_idle, load.workers_max);
}

// The counter to raise if what stands before the report is wrong.
std::optional<Counter> check_header(std::span<const std::uint8_t> datagram) {
    if (datagram.size() > datagram_bytes_max) {
        return Counter::datagrams_long;
    }
    if (datagram.size() <= datagram_header_bytes) {
        return Counter::datagrams_short;
    }
    if (!std::equal(magic.begin(), magic.end(), datagram.begin())) {
        return Counter::datagrams_malformed;
    }
    if (datagram[version_offset] != datagram_format_version) {
        return Counter::datagrams_of_other_version;
    }
    return std::nullopt;
}

// The tag at the end of a datagram that has one, and takes it off.
std::optional<std::span<const std::uint8_t>> take_tag(std::span<const std::uint8_t>& datagram) {
    if (datagram.size() <= datagram_header_bytes + tag_bytes) {
        return std::nullopt;
    }
    const auto tag = datagram.last(tag_bytes);
    datagram = datagram.first(datagram.size() - tag_bytes);
    return tag;
}

// The counter to raise if the tag is not what the keys ask for.  Takes the tag off.
std::optional<Counter> check_signature(std::span<const std::uint8_t>& datagram,
                                       const KeyRing* keys) {
    const std::uint8_t key_id = datagram[key_id_offset];
    if (keys == nullptr) {
        return key_id == 0 ? std::nullopt : std::optional{Counter::datagrams_of_unknown_key};
    }
    if (key_id == 0) {
        return Counter::datagrams_unsigned;
    }
    const auto tag = take_tag(datagram);
    if (!tag) {
        return Counter::datagrams_short;
    }
    switch (keys->verify(KeyPurpose::announcement, key_id, datagram, *tag)) {
        case Verdict::good:
            return std::nullopt;
        case Verdict::unknown_key:
            return Counter::datagrams_of_unknown_key;
        case Verdict::forged:
            break;
    }
    return Counter::datagrams_forged;
}

// Of a datagram whose header is right and whose tag has been taken off.
std::optional<Counter> read_report(std::span<const std::uint8_t> datagram, ServerReport& report,
                                   std::vector<std::string>* sites) {
    report = ServerReport{};
    report.load.boot_id = get_big_endian<std::uint64_t>(datagram.subspan(boot_id_offset));
    report.load.measurement = get_big_endian<std::uint64_t>(datagram.subspan(measurement_offset));
    if (!ReportReader{datagram.subspan(datagram_header_bytes), report, sites}.read()) {
        return Counter::datagrams_malformed;
    }
    reconcile(report.load);
    return std::nullopt;
}

}  // namespace

std::vector<std::uint8_t> encode_datagram(const ServerReport& report,
                                          std::span<const std::string> services,
                                          const KeyRing* keys) {
    std::vector<std::uint8_t> datagram;
    datagram.reserve(datagram_bytes_max);
    datagram.assign(magic.begin(), magic.end());
    datagram.push_back(datagram_format_version);
    datagram.push_back(keys == nullptr ? std::uint8_t{0} : keys->signing_id());
    datagram.insert(datagram.end(), 2, 0);
    append_big_endian(datagram, report.load.boot_id);
    append_big_endian(datagram, report.load.measurement);

    write_report(report, services, datagram_bytes_max - tag_bytes, datagram);
    if (keys != nullptr) {
        const Tag tag = keys->sign(KeyPurpose::announcement, datagram);
        datagram.insert(datagram.end(), tag.begin(), tag.end());
    }
    return datagram;
}

std::optional<Counter> decode_datagram(std::span<const std::uint8_t> datagram, const KeyRing* keys,
                                       ServerReport& report) {
    if (const auto fault = check_header(datagram)) {
        return fault;
    }
    if (const auto fault = check_signature(datagram, keys)) {
        return fault;
    }
    return read_report(datagram, report, nullptr);
}

std::optional<Counter> overhear_datagram(std::span<const std::uint8_t> datagram,
                                         OverheardAnnouncement& overheard) {
    if (const auto fault = check_header(datagram)) {
        return fault;
    }
    overheard.key_id = datagram[key_id_offset];
    if (overheard.key_id != 0 && !take_tag(datagram)) {
        return Counter::datagrams_short;
    }
    overheard.services.clear();
    return read_report(datagram, overheard.report, &overheard.services);
}

}  // namespace backhand
