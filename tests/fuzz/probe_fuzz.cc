// Fuzzes the reader of probes: whatever arrives, it is either dropped or read as what can be
// written again, byte for byte but for what is not looked at; nobody guesses a tag; and signed, the
// same is read of it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "announce/probe.h"
#include "known_keys.h"

namespace {

using backhand::Endpoint;
using backhand::keys;
using backhand::Probe;
using backhand::require;

using Bytes = std::vector<std::uint8_t>;

void write_again(const Probe& probe, const Endpoint& asked, const backhand::KeyRing* ring) {
    const backhand::ProbeDatagram again{probe, asked, ring};
    Probe reread;
    require(!backhand::decode_probe(again.bytes(), probe.kind, asked, ring, reread));
    require(reread == probe && backhand::nonce_in(again.bytes()) == probe.nonce);
}

// As a member would send it that wrote these bytes.
Bytes signed_copy(Bytes datagram, const Endpoint& asked) {
    datagram[5] = keys().signing_id();
    Bytes message = datagram;
    message.insert(message.end(), asked.address.bytes.begin(), asked.address.bytes.end());
    message.push_back(static_cast<std::uint8_t>(asked.port >> 8U));
    message.push_back(static_cast<std::uint8_t>(asked.port));
    const backhand::Tag tag = keys().sign(backhand::KeyPurpose::probe, message);
    datagram.insert(datagram.end(), tag.begin(), tag.end());
    return datagram;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Memory of exactly this size: the sanitizer sees a read beyond the end.
    const Bytes datagram(data, data + size);
    const Endpoint asked = *Endpoint::parse("10.0.0.1:80");
    for (const Probe::Kind kind : {Probe::Kind::question, Probe::Kind::answer}) {
        Probe probe;
        require(backhand::decode_probe(datagram, kind, asked, &keys(), probe).has_value());

        const auto fault = backhand::decode_probe(datagram, kind, asked, nullptr, probe);
        if (!fault) {
            require(probe.kind == kind && size == backhand::probe_bytes);
            require(backhand::nonce_in(datagram) == probe.nonce);
            write_again(probe, asked, nullptr);
        }
        if (size != backhand::probe_bytes || datagram[5] != 0) {
            continue;
        }
        Probe of_member;
        const auto members_fault =
            backhand::decode_probe(signed_copy(datagram, asked), kind, asked, &keys(), of_member);
        require(members_fault == fault);
        if (!members_fault) {
            require(of_member == probe);
            write_again(of_member, asked, &keys());
        }
    }
    return 0;
}
