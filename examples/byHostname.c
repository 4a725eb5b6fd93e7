/* byHostname: keeps the candidates whose host name matches a regular expression.
 *
 *     BackhandFromSO /usr/lib/apache2/backhand/byHostname.so byHostname ^web
 *
 * The original's sample plug-in, written for the original's prototype.
 */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "backhand/mod_backhand.h"

/* The pattern used last stays compiled, which takes longer than matching does.  Calls take turns, so
 * that static variables need no lock. */
static regex_t pattern;
static char *pattern_text; /* what it was compiled from; NULL: there is none */

static int compile(const char *text)
{
    if (pattern_text != NULL) {
        if (strcmp(pattern_text, text) == 0) {
            return 1;
        }
        regfree(&pattern);
        free(pattern_text);
    }
    /* A copy: the configuration that `text` lies in ends before this object does. */
    pattern_text = strdup(text);
    if (pattern_text != NULL && regcomp(&pattern, text, REG_EXTENDED | REG_NOSUB) != 0) {
        free(pattern_text);
        pattern_text = NULL;
    }
    return pattern_text != NULL;
}

int byHostname(request_rec *r, int *servers, int *n, char *arg)
{
    int kept = 0;
    int i;

    (void)r;
    /* A pattern that cannot be compiled matches nothing: the request is then served here. */
    if (arg != NULL && compile(arg)) {
        for (i = 0; i < *n; i++) {
            if (regexec(&pattern, serverstats[servers[i]].hostname, 0, NULL, 0) == 0) {
                servers[kept++] = servers[i];
            }
        }
    }
    *n = kept;
    return kept;
}
