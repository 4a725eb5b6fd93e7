/* withoutFailing: leaves out servers whose last answer to this process was an error (5xx).
 *
 *     BackhandFromSO /usr/lib/backhand/withoutFailing.so withoutFailing
 *
 * Learns from what becomes of requests.  Several threads call it at a time, hence the atomics.
 */
#include <stdatomic.h>

#include <backhand/plugin.h>

#define SERVERS 65536 /* the most that BackhandMaxServers can say */

static atomic_uchar failing[SERVERS];

static int decide(void *plugin, const backhand_request *request,
                  const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    int i;
    int kept = 0;
    (void)plugin;
    for (i = 0; i < n; i++) {
        /* One request in 16 asks again, or a server would be left out for ever. */
        if (!failing[candidates[i].id % SERVERS] || request->random % 16 == 0) {
            answer->order[kept++] = i;
        }
    }
    return kept;
}

static void ended(void *plugin, const backhand_request *request, uint32_t id,
                  const backhand_outcome *outcome)
{
    (void)plugin;
    (void)request;
    failing[id % SERVERS] = outcome->answered && outcome->status >= 500;
}

const backhand_plugin backhand_this_plugin = {
    .abi = BACKHAND_PLUGIN_ABI,
    .size = sizeof(backhand_plugin),
    .name = "withoutFailing",
    .decide = decide,
    .ended = ended};
