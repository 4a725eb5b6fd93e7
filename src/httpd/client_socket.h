// The descriptor of the client's connection, for poll().
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

// -1: there is none.
inline int socket_of(conn_rec* connection) {
    apr_os_sock_t descriptor = -1;
    if (apr_socket_t* const socket = ap_get_conn_socket(connection)) {
        apr_os_sock_get(&descriptor, socket);
    }
    return descriptor;
}

}  // namespace backhand::httpd
