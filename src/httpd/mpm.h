// What the MPM is asked: how many processes and threads it may run, and what it is about to do.
#pragma once

#include <algorithm>
#include <cstdint>

#include "httpd/apache.h"

namespace backhand::httpd {

// At least 1.
inline std::uint32_t workers_per_child() {
    int threads = 0;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return static_cast<std::uint32_t>(std::max(1, threads));
}

// At least 1.
inline std::uint32_t children_max() {
    int children = 0;
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &children);
    return static_cast<std::uint32_t>(std::max(1, children));
}

// Event: idle connections have no worker.
inline bool mpm_is_async() {
    int is_async = 0;
    ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async);
    return is_async != 0;
}

// This process, at once or gracefully.
inline bool mpm_is_stopping() {
    int state = AP_MPMQ_STOPPING;
    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) != APR_SUCCESS || state == AP_MPMQ_STOPPING;
}

}  // namespace backhand::httpd
