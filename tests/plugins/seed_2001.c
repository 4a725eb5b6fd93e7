/*
 * A set of candidacy functions as somebody might have written them for
 * mod_backhand in 2001: C89, the original's names, nothing newer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <limits.h>

#include "httpd.h"
#include "http_log.h"
#include "mod_backhand.h"

static int compare_load(const void *a, const void *b)
{
    int left = *(const int *) a;
    int right = *(const int *) b;
    return serverstats[left].load - serverstats[right].load;
}

/* least loaded first */
int byMyLoad(request_rec *r, int *servers, int *n, char *arg)
{
    qsort(servers, *n, sizeof(int), compare_load);
    return *n;
}

/* only those with news of the last so many seconds, and some memory left */
int byFresh(request_rec *r, int *servers, int *n, char *arg)
{
    int i, mycount = 0;
    time_t now = time(NULL);
    int seconds = (arg != NULL && *arg != '\0') ? atoi(arg) : 5;

    for (i = 0; i < *n; i++) {
        serverstat *s = &serverstats[servers[i]];
        if (now - s->mtime <= seconds && s->amem > s->tmem / 20)
            servers[mycount++] = servers[i];
    }
    *n = mycount;
    return mycount;
}

/* only those on this network, "10.0." */
int byNetwork(request_rec *r, int *servers, int *n, char *arg)
{
    int i, mycount = 0;
    char text[32];
    unsigned char *bytes;

    for (i = 0; i < *n; i++) {
        struct sockaddr_in *contact = &serverstats[servers[i]].contact;
        if (contact->sin_family != AF_INET)
            continue;
        bytes = (unsigned char *) &contact->sin_addr;
        sprintf(text, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2], bytes[3]);
        if (arg == NULL || strncmp(text, arg, strlen(arg)) == 0)
            servers[mycount++] = servers[i];
    }
    *n = mycount;
    return mycount;
}

/* every server with an idle child, whoever was a candidate: widens the set */
int byAvailable(request_rec *r, int *servers, int *n, char *arg)
{
    int i, mycount = 0;

    for (i = 0; i < 8; i++) {
        if (serverstats[i].mtime != 0 && serverstats[i].aservers > 0)
            servers[mycount++] = i;
    }
    *n = mycount;
    return mycount;
}

/* writes the statistics of the head into arg, which has room for as much as it came with */
int byTelling(request_rec *r, int *servers, int *n, char *arg)
{
    serverstat *s = &serverstats[servers[0]];
    static char told[200];

    sprintf(told, "%s %d %d %d %d %d %d %d %d %d %d", s->hostname, (int) s->contact.sin_family,
            s->arriba, s->aservers, s->nservers, s->load, s->load_hwm, s->cpu, s->ncpu,
            s->tmem == INT_MAX, s->amem);
    setenv("BACKHAND_TEST_TOLD", told, 1);
    return *n;
}

/* is mistaken in every way */
int byMistake(request_rec *r, int *servers, int *n, char *arg)
{
    servers[0] = 2;
    servers[1] = 2;
    servers[2] = -7;
    servers[3] = 100000;
    servers[4] = 1;
    *n = 5;
    return 4;
}

int byTooMany(request_rec *r, int *servers, int *n, char *arg)
{
    *n = 1000000;
    return *n;
}

int byTooFew(request_rec *r, int *servers, int *n, char *arg)
{
    *n = -1;
    return *n;
}

/* arg: how many the cluster can have; writes one more */
int byOverflow(request_rec *r, int *servers, int *n, char *arg)
{
    servers[atoi(arg)] = 0;
    return *n;
}
