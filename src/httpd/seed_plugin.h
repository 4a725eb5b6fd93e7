// SeedPlugin: a candidacy function from a shared object with the seed's prototype.
//
//     int function(request_rec *r, int *servers, int *n, char *arg);
//
// with the global `serverstat *serverstats`, which the plug-in's header declares weak and we point
// at our copy after loading.  That global is one per process: calls into such plug-ins take turns.
//
// httpd's parent, which is root, never opens the file: a process without privileges tries it before
// the start, and children open it for themselves.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "backhand/mod_backhand.h"
#include "base/result.h"
#include "decide/candidacy.h"

namespace backhand::httpd {

class SeedPlugin final : public CandidacyFunction {
public:
    struct Source {
        std::string file;
        std::string function;
        std::string argument;
        std::string written_at;  // file:line of the configuration
    };

    explicit SeedPlugin(Source source);
    SeedPlugin(const SeedPlugin&) = delete;
    SeedPlugin& operator=(const SeedPlugin&) = delete;
    ~SeedPlugin() override;

    // As it would be written after `Backhand`.
    std::string text() const;

    const Source& source() const { return source_; }

    // Who may put code into httpd: the file and every directory above it belong to root (or to whom
    // httpd runs as, if that is not root) and nobody else can write them.
    Status check_ownership() const;

    // Loads the object into this process.  Until then, and if it fails, the set passes unchanged.
    Status open();

    void apply(CandidacySet& set, const DecisionContext& context) const override;

private:
    using Function = int (*)(request_rec* r, int* servers, int* n, char* arg);

    const Source source_;
    void* library_ = nullptr;
    Function function_ = nullptr;
    serverstat** serverstats_ = nullptr;  // the plug-in's global

    mutable std::vector<serverstat> statistics_;  // by slot
    mutable std::vector<int> slots_;
    mutable std::string argument_;  // the prototype lets the function write to it
    mutable std::atomic<bool> complained_{false};
};

// The seed's view of a server: IPv6 contacts appear as AF_UNSPEC, memory saturates at INT_MAX.
serverstat to_serverstat(const ServerView& server, const char* hostname, MonotonicTime now);

}  // namespace backhand::httpd
