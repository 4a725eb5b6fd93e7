// httpd's and APR's headers, in the one order in which they compile: httpd.h first.
#pragma once

// clang-format off
#include "httpd.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "http_ssl.h"
#include "http_vhost.h"
#include "ap_listen.h"
#include "ap_mpm.h"
#include "ap_provider.h"
#include "mod_auth.h"
#include "mod_proxy.h"
#include "mpm_common.h"
#include "scoreboard.h"
#include "unixd.h"
#include "util_filter.h"
#include "apr_buckets.h"
#include "apr_optional_hooks.h"
#include "apr_pools.h"
#include "apr_strings.h"
#include "apr_thread_proc.h"
// clang-format on
