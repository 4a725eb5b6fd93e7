// SeedStatistics: what the original's plug-ins know of one server.
//
// The very structure that include/backhand/mod_backhand.h calls `serverstat`, for a part of the
// project that knows nothing of httpd; src/httpd/plugins.cc checks that they are the same.
#pragma once

#include <ctime>
#include <string_view>

#include <netinet/in.h>

#include "cluster/view.h"

namespace backhand {

struct SeedStatistics {
    char hostname[40];
    std::time_t mtime;
    sockaddr_in contact;
    int arriba;
    int aservers;
    int nservers;
    int load;
    int load_hwm;
    int cpu;
    int ncpu;
    int tmem;
    int amem;
};

// IPv6 contacts appear as AF_UNSPEC, numbers saturate at INT_MAX, names are cut.  `clock_time` is
// what people call `now`.
SeedStatistics seed_statistics_of(const ServerView& server, std::string_view name,
                                  MonotonicTime now, std::time_t clock_time);

}  // namespace backhand
