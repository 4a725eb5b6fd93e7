/* The original interface for candidacy functions in shared objects.
 *
 *     int function_name(request_rec *r, int *servers, int *n, char *arg);
 *
 * `servers` holds the candidates as indices into `serverstats`, best first; `*n` is how many there
 * are.  Reorder them, remove some, and put the new number into *n and return it.  `arg` is the third
 * argument of
 *
 *     BackhandFromSO file function_name [arg]
 *
 * Build with the flags apxs gives:
 *
 *     gcc -shared -fPIC $(apxs -q CFLAGS) -I$(apxs -q INCLUDEDIR) $(apr-1-config --includes) \
 *         -o byHostname.so byHostname.c
 *
 * Calls take turns, one at a time in each httpd child.
 */
#ifndef BACKHAND_MOD_BACKHAND_H
#define BACKHAND_MOD_BACKHAND_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include "httpd.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    /* General information concerning the server and this structure */
    char hostname[40];          /* or truncated hostname as the case may be */
    time_t mtime;               /* when news of this server last arrived */
    struct sockaddr_in contact; /* the associated inet addr + port; AF_UNSPEC if it has no IPv4 */

    /* Actual statistics for decision making */
    int arriba;   /* how fast this machine is */
    int aservers; /* number of available servers: idle workers */
    int nservers; /* number of running servers: workers */
    int load;     /* load times 1000 (keep floats off network) */
    int load_hwm; /* the smallest power of two not below the load seen thus far */
    int cpu;      /* cpu idle time 1000 */
    int ncpu;     /* number of CPUs (load doesn't mean too much otherwise) */
    int tmem;     /* total memory installed (in bytes; at most INT_MAX) */
    int amem;     /* available memory (in bytes; at most INT_MAX) */
} serverstat;

/* Every server's statistics.  Set by the module after it has loaded your object; each object has its
 * own, which is why the definition is weak. */
__attribute__((weak, visibility("default"))) serverstat *serverstats;

#ifdef __cplusplus
}
#endif

#endif /* BACKHAND_MOD_BACKHAND_H */
