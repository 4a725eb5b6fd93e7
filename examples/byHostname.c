/* byHostname: keeps the candidates whose host name matches a regular expression.
 *
 *     BackhandFromSO /usr/lib/apache2/backhand/byHostname.so byHostname ^web
 *
 * The original's sample plug-in, written for the original's prototype.
 */
#include <regex.h>
#include <string.h>

#include "backhand/mod_backhand.h"

int byHostname(request_rec *r, int *servers, int *n, char *arg)
{
    regex_t pattern;
    int kept = 0;
    int i;

    (void)r;
    /* A pattern that cannot be compiled matches nothing: the request is then served here. */
    if (arg != NULL && regcomp(&pattern, arg, REG_EXTENDED | REG_NOSUB) == 0) {
        for (i = 0; i < *n; i++) {
            if (regexec(&pattern, serverstats[servers[i]].hostname, 0, NULL, 0) == 0) {
                servers[kept++] = servers[i];
            }
        }
        regfree(&pattern);
    }
    *n = kept;
    return kept;
}
