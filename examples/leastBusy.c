/* leastBusy: orders the candidates by what they probably have to do now.
 *
 *     BackhandFromSO /usr/lib/backhand/leastBusy.so leastBusy 2
 *
 * Gives each a score and leaves the order to the server.  The argument is the margin: servers that
 * differ by no more keep the order they had, which a byRandom before it has made random.
 */
#include <stdio.h>
#include <stdlib.h>

#include <backhand/plugin.h>

static void *create(const char *argument, char *error, size_t error_size)
{
    char *end;
    double *margin = malloc(sizeof *margin);
    if (margin == NULL) {
        return NULL;
    }
    *margin = strtod(argument, &end);
    if (*end != '\0' || !(*margin >= 0)) {
        snprintf(error, error_size, "expected a margin of 0 or more");
        free(margin);
        return NULL;
    }
    return margin;
}

static int decide(void *plugin, const backhand_request *request,
                  const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    int i;
    (void)request;
    for (i = 0; i < n; i++) {
        answer->scores[i] = (double)candidates[i].serving + candidates[i].sent_since;
    }
    answer->by_score = 1;
    answer->margin = *(double *)plugin;
    return n;
}

const backhand_plugin backhand_this_plugin = {
    .abi = BACKHAND_PLUGIN_ABI,
    .size = sizeof(backhand_plugin),
    .name = "leastBusy",
    .create = create,
    .destroy = free,
    .decide = decide};
