/* Candidacy functions in shared objects, the interface of today.  (The original's is in
 * mod_backhand.h.)
 *
 * A plug-in shapes the set of servers that may answer a request: it drops some, orders the others,
 * or gives each a score and lets the server order them.  Plain C, no header of httpd's needed:
 *
 *     gcc -shared -fPIC -o leastBusy.so leastBusy.c
 *     BackhandFromSO /usr/lib/backhand/leastBusy.so leastBusy [argument]
 *
 *     #include <backhand/plugin.h>
 *
 *     static int decide(void *plugin, const backhand_request *request,
 *                       const backhand_candidate *candidates, int n, backhand_answer *answer)
 *     {
 *         int i;
 *         for (i = 0; i < n; i++) {
 *             answer->scores[i] = candidates[i].serving + candidates[i].sent_since;
 *         }
 *         answer->by_score = 1;
 *         return n;
 *     }
 *
 *     const backhand_plugin backhand_this_plugin = {
 *         .abi = BACKHAND_PLUGIN_ABI, .size = sizeof(backhand_plugin),
 *         .name = "leastBusy", .decide = decide};
 *
 * Everything is called by several threads at a time, except create() and destroy().  decide() is
 * in the request's way: it must not wait for anything.  Pointers that it is given are good until it
 * returns.  Times are in microseconds unless their names say otherwise.
 */
#ifndef BACKHAND_PLUGIN_H
#define BACKHAND_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rises when plug-ins have to be built anew.  What is only added to the end of a structure does not
 * change it: `size` says how much of a structure is there. */
#define BACKHAND_PLUGIN_ABI 1u

/* Text without a NUL at its end.  `bytes` is NULL where there is nothing, not even an empty text. */
typedef struct backhand_text {
    const char *bytes;
    size_t length;
} backhand_text;

/* ---- candidates ---- */

/* backhand_candidate.flags */
#define BACKHAND_IS_SELF 1u /* the server that decides */
#define BACKHAND_HOLDS_WORKERS 2u /* an idle connection occupies a worker there (prefork, worker) */
#define BACKHAND_IS_UNHEALTHY 4u /* too many requests sent there in a row have failed */

typedef struct backhand_candidate {
    /* The same server has the same number in all decisions; self has 0.  The number of a server
     * that has long been gone goes to another: then boot_id is another, too. */
    uint32_t id;
    uint32_t flags;
    uint64_t boot_id;     /* rises with every start of that server */
    uint8_t address[16];  /* where peers reach it: IPv6, or ::ffff:a.b.c.d */
    uint32_t port;

    /* ---- what this host has seen itself ---- */
    uint32_t in_flight;         /* requests that it has at that server now */
    uint32_t sent_since;        /* requests sent there since the newest news of it */
    uint32_t failures_in_a_row; /* of connections to it */
    uint64_t age_us;            /* how old the newest news are */
    uint64_t known_for_us;      /* since this start of it was first heard of; the most there is
                                 * for who was there before this server, and for self */
    uint32_t own_latency_us;    /* what requests sent there took, at the last of them; 0: none yet */
    uint32_t own_latency_age_ms;
    double score;               /* from a function before this one in the chain; NaN: none */

    /* ---- what the server announced; docs/wire_format.md says what each means ---- */
    uint64_t memory_total_bytes;
    uint64_t memory_available_bytes;
    uint64_t forwarded_total;
    uint32_t serving; /* requests in progress: the newest count, which responses carry, too */
    uint32_t forwarding;
    uint32_t workers_max;
    uint32_t workers_busy;
    uint32_t workers_idle; /* the newest count */
    uint32_t load_permille;
    uint32_t load_hwm;
    uint32_t cpus_permille;
    uint32_t cpu_idle_permille;
    uint32_t arriba;
    uint32_t pressure_cpu_permille;
    uint32_t pressure_memory_permille;
    uint32_t pressure_io_permille;
    uint32_t request_rate_millihertz;
    uint32_t error_rate_millihertz;
    uint32_t latency_us;
    uint32_t latency_p99_us;
    uint32_t latency_at_load_us;
    uint32_t latency_proxied_us;
    uint32_t interval_ms;
    uint32_t keepalive_timeout_ms;
    uint32_t reserved[9]; /* 0; for what will be announced one day */
} backhand_candidate;

/* ---- the request ---- */

typedef struct backhand_request backhand_request;

struct backhand_request {
    size_t size; /* of this structure */
    backhand_text method;
    backhand_text host;            /* as the client named it, without the port */
    backhand_text target;          /* "/path?query" */
    backhand_text query;           /* what follows the '?'; NULL without one */
    backhand_text virtual_host;    /* the ServerName of the virtual host that answers */
    uint8_t client_address[16];    /* IPv6, or ::ffff:a.b.c.d */
    int is_tls;                    /* the client has come by https */
    uint64_t now_ns;               /* CLOCK_MONOTONIC */
    uint64_t location_time_us;     /* what requests like this one take here; 0: not learnt yet */
    uint64_t random;               /* another number in each call: plug-ins that draw need no source */

    /* Called by the functions below; use those. */
    backhand_text (*get_header)(const backhand_request *request, const char *name, size_t nth);
    backhand_text (*get_cookie)(const backhand_request *request, const char *name);
    backhand_text (*get_environment)(const backhand_request *request, const char *name);
    size_t (*get_name)(const backhand_request *request, uint32_t id, char *buffer, size_t size);
    int (*get_offers)(const backhand_request *request, uint32_t id, const char *site);
};

/* The value of a header field, whatever its name's case; NULL if the client has sent none. */
static inline backhand_text backhand_header(const backhand_request *request, const char *name)
{
    return request->get_header(request, name, 0);
}

/* The same for fields that may come several times: nth counts from 0. */
static inline backhand_text backhand_nth_header(const backhand_request *request, const char *name,
                                                size_t nth)
{
    return request->get_header(request, name, nth);
}

static inline backhand_text backhand_cookie(const backhand_request *request, const char *name)
{
    return request->get_cookie(request, name);
}

/* As SetEnv, SetEnvIf and RewriteRule have set it. */
static inline backhand_text backhand_environment(const backhand_request *request, const char *name)
{
    return request->get_environment(request, name);
}

/* Writes the server's host name into the buffer, cut where it must be, with a NUL; returns the
 * name's whole length. */
static inline size_t backhand_name_of(const backhand_request *request,
                                      const backhand_candidate *candidate, char *buffer, size_t size)
{
    return request->get_name(request, candidate->id, buffer, size);
}

/* Whether the server offers this site (BackhandService). */
static inline int backhand_offers(const backhand_request *request,
                                  const backhand_candidate *candidate, const char *site)
{
    return request->get_offers(request, candidate->id, site);
}

/* ---- the answer ---- */

/* `order` comes with 0, 1, ... n-1: the candidates in the order in which the function before left
 * them, best first.  Rearrange it, leave some out, and return how many there are now.  0 means that
 * the request is served here.
 *
 * Or give each candidate that stays a score, set by_score, and they are ordered by it, lowest
 * first; candidates whose scores differ by at most `margin` keep the order they had. */
typedef struct backhand_answer {
    size_t size;    /* of this structure */
    int *order;     /* n places */
    double *scores; /* n places, one for each candidate (whatever its place in `order`); all 0 */
    double margin;  /* 0 */
    int by_score;   /* 0 */
} backhand_answer;

/* ---- what became of it ---- */

typedef struct backhand_outcome {
    size_t size;         /* of this structure */
    int answered;        /* a whole response came; it may be an error page */
    int status;          /* of the response; 0 unless answered */
    uint64_t latency_us; /* from sending the request to the end of the response, or to the failure */
} backhand_outcome;

/* ---- the plug-in ---- */

typedef struct backhand_plugin {
    uint32_t abi;     /* BACKHAND_PLUGIN_ABI */
    uint32_t size;    /* sizeof(backhand_plugin) */
    const char *name; /* as in BackhandFromSO file name */

    /* Makes what the other functions get as `plugin`, once for each line of the configuration in
     * each process.  The argument is "" if the line has none.  NULL: it cannot be used; then
     * `error` (of error_size bytes) says why.  May be NULL: then `plugin` is NULL. */
    void *(*create)(const char *argument, char *error, size_t error_size);

    /* When another version has taken over and the last call into this one has returned.  Not called
     * when the process ends.  May be NULL. */
    void (*destroy)(void *plugin);

    /* Shapes the set of n candidates, n >= 0.  Returns how many are left, 0 to n. */
    int (*decide)(void *plugin, const backhand_request *request,
                  const backhand_candidate *candidates, int n, backhand_answer *answer);

    /* A request is being sent to this server; which need not be the one that decide() put first,
     * because functions after it have their say, and servers fail.  May be NULL. */
    void (*sent)(void *plugin, const backhand_request *request, const backhand_candidate *chosen);

    /* What was sent to the server with this id has ended.  Once for each sent(), perhaps after a
     * new version of the plug-in has taken over.  May be NULL. */
    void (*ended)(void *plugin, const backhand_request *request, uint32_t id,
                  const backhand_outcome *outcome);

    const struct backhand_plugin *next; /* another plug-in in the same file; NULL: the last */
} backhand_plugin;

/* The one symbol that a plug-in's file must have. */
extern __attribute__((visibility("default"))) const backhand_plugin backhand_this_plugin;

#ifdef __cplusplus
}
#endif

#endif /* BACKHAND_PLUGIN_H */
