// C++ objects owned by httpd's pools.
//
// One rule: the pool owns the object, the object owns everything else, and no object holds memory
// of a pool that lives shorter than itself.
#pragma once

#include <memory>
#include <utility>

#include "httpd/apache.h"

namespace backhand::httpd {

template <class T>
apr_status_t destroy_object(void* object) noexcept {
    const std::unique_ptr<T> owned{static_cast<T*>(object)};
    return APR_SUCCESS;
}

// Makes a T that lives as long as the pool.
template <class T, class... Args>
T& make_in_pool(apr_pool_t* pool, Args&&... args) {
    auto object = std::make_unique<T>(std::forward<Args>(args)...);
    apr_pool_cleanup_register(pool, object.get(), &destroy_object<T>, apr_pool_cleanup_null);
    return *object.release();
}

}  // namespace backhand::httpd
