// What `backhand announce` is told, checked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "announce/destination.h"
#include "announce/key_ring.h"
#include "base/address.h"
#include "base/result.h"
#include "cluster/server_report.h"

namespace backhand {

// As typed; empty if not given.
struct AnnounceOptions {
    std::vector<std::string> destinations;
    std::string from;
    std::string contact;
    std::string name;
    std::vector<std::string> services;
    std::string workers = "100";
    std::string keepalive_timeout_ms = "5000";
    std::string interval_ms = "100";
    std::vector<std::string> key_files;
    std::string challenge_listen;
    std::string state_directory;
};

struct AnnounceSettings {
    ServerReport self;  // what does not change
    std::vector<std::string> services;
    std::vector<Destination> destinations;
    std::optional<KeyRing> keys;
    std::optional<Endpoint> challenge_listen;
    std::string state_directory;  // absolute; empty: there is none
};

// How many bytes of site names always fit into an announcement, however large its numbers become;
// each name counts with 3 more than it has.
constexpr std::size_t services_bytes_max = 448;

Result<AnnounceSettings> read_announce_options(const AnnounceOptions& options);

}  // namespace backhand
