/* Plug-ins that do what the tests want done, all in one file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <backhand/plugin.h>

static int starts_with(backhand_text text, const char *beginning)
{
    return text.length >= strlen(beginning) &&
           memcmp(text.bytes, beginning, strlen(beginning)) == 0;
}

/* ---- good ones ---- */

static int reverse(void *plugin, const backhand_request *request,
                   const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    int i;
    (void)plugin;
    (void)request;
    (void)candidates;
    for (i = 0; i < n; i++) {
        answer->order[i] = n - 1 - i;
    }
    return n;
}

static int drop_self(void *plugin, const backhand_request *request,
                     const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    int i;
    int kept = 0;
    (void)plugin;
    (void)request;
    for (i = 0; i < n; i++) {
        if ((candidates[i].flags & BACKHAND_IS_SELF) == 0) {
            answer->order[kept++] = i;
        }
    }
    return kept;
}

/* Scores by serving, with the margin of its argument. */
struct scorer {
    double margin;
};

static void *create_scorer(const char *argument, char *error, size_t error_size)
{
    struct scorer *scorer;
    if (strcmp(argument, "bad") == 0) {
        snprintf(error, error_size, "expected a margin");
        return NULL;
    }
    scorer = malloc(sizeof *scorer);
    scorer->margin = atof(argument);
    return scorer;
}

static int score(void *plugin, const backhand_request *request,
                 const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    int i;
    (void)request;
    for (i = 0; i < n; i++) {
        answer->scores[i] = candidates[i].serving;
    }
    answer->by_score = 1;
    answer->margin = ((struct scorer *)plugin)->margin;
    return n;
}

/* Keeps all if the request is as the test has made it, else none. */
static int check_request(void *plugin, const backhand_request *request,
                         const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    char name[8];
    (void)plugin;
    (void)answer;
    if (!starts_with(request->method, "POST") || !starts_with(request->host, "www.example.com") ||
        !starts_with(request->target, "/a?b=c") || !starts_with(request->query, "b=c") ||
        !starts_with(request->virtual_host, "vhost") || request->is_tls != 1 ||
        request->client_address[15] != 7 || request->location_time_us != 3000 ||
        !starts_with(backhand_header(request, "x-field"), "first") ||
        !starts_with(backhand_nth_header(request, "X-Field", 1), "second") ||
        backhand_nth_header(request, "X-Field", 2).bytes != NULL ||
        !starts_with(backhand_cookie(request, "id"), "4711") ||
        !starts_with(backhand_environment(request, "colour"), "blue") ||
        backhand_environment(request, "none").bytes != NULL) {
        return 0;
    }
    if (backhand_name_of(request, &candidates[1], name, sizeof name) != 5 ||
        strcmp(name, "made1") != 0 || !backhand_offers(request, &candidates[1], "www.example.com") ||
        backhand_offers(request, &candidates[1], "other")) {
        return 0;
    }
    return n;
}

/* Tells what it has seen in the environment of its process. */
static int feedback_sent;
static int feedback_answered;

static void remember(void)
{
    char text[64];
    snprintf(text, sizeof text, "%d %d", feedback_sent, feedback_answered);
    setenv("BACKHAND_TEST_FEEDBACK", text, 1);
}

static void note_sent(void *plugin, const backhand_request *request,
                      const backhand_candidate *chosen)
{
    (void)plugin;
    (void)request;
    feedback_sent += (int)chosen->id;
    remember();
}

static void note_ended(void *plugin, const backhand_request *request, uint32_t id,
                       const backhand_outcome *outcome)
{
    (void)plugin;
    (void)request;
    (void)id;
    feedback_answered += outcome->answered && outcome->status == 200 && outcome->latency_us == 5;
    remember();
}

static void *create_counted(const char *argument, char *error, size_t error_size)
{
    (void)argument;
    (void)error;
    (void)error_size;
    return malloc(1);
}

static void destroy_counted(void *plugin)
{
    const char *before = getenv("BACKHAND_TEST_DESTROYED");
    char text[16];
    snprintf(text, sizeof text, "%d", before == NULL ? 1 : atoi(before) + 1);
    setenv("BACKHAND_TEST_DESTROYED", text, 1);
    free(plugin);
}

/* ---- bad ones ---- */

static int impossible(void *plugin, const backhand_request *request,
                      const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    (void)plugin;
    (void)request;
    (void)candidates;
    if (n < 3) {
        return n;
    }
    answer->order[0] = n;
    answer->order[1] = -1;
    answer->order[2] = 1;
    return 3;
}

static int repeated(void *plugin, const backhand_request *request,
                    const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    int i;
    (void)plugin;
    (void)request;
    (void)candidates;
    for (i = 0; i < n; i++) {
        answer->order[i] = n - 1;
    }
    return n;
}

static int too_many(void *plugin, const backhand_request *request,
                    const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    (void)plugin;
    (void)request;
    (void)candidates;
    (void)answer;
    return n + 1000000;
}

static int negative(void *plugin, const backhand_request *request,
                    const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    (void)plugin;
    (void)request;
    (void)candidates;
    (void)n;
    (void)answer;
    return -1;
}

static int beyond(void *plugin, const backhand_request *request,
                  const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    (void)plugin;
    (void)request;
    (void)candidates;
    answer->order[n] = 0;
    answer->scores[n + 1] = 0;
    return n;
}

static int no_numbers(void *plugin, const backhand_request *request,
                      const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    int i;
    (void)plugin;
    (void)request;
    (void)candidates;
    for (i = 0; i < n; i++) {
        answer->scores[i] = i == 0 ? NAN : -i;
    }
    answer->by_score = 1;
    answer->margin = NAN;
    return n;
}

static int crash(void *plugin, const backhand_request *request,
                 const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    (void)plugin;
    (void)request;
    (void)candidates;
    (void)answer;
    if (n > 100) {
        abort();
    }
    return n;
}

static int hang(void *plugin, const backhand_request *request,
                const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    volatile int forever = 1;
    (void)plugin;
    (void)request;
    (void)candidates;
    (void)answer;
    while (forever) {
    }
    return n;
}

static int leave(void *plugin, const backhand_request *request,
                 const backhand_candidate *candidates, int n, backhand_answer *answer)
{
    (void)plugin;
    (void)request;
    (void)candidates;
    (void)answer;
    exit(n * 0);
}

#define PLUGIN BACKHAND_PLUGIN_ABI, sizeof(backhand_plugin)

static const backhand_plugin without_decide = {PLUGIN, "without_decide", 0, 0, 0, 0, 0, 0};
static const backhand_plugin p_leave = {PLUGIN, "leave", 0, 0, leave, 0, 0, &without_decide};
static const backhand_plugin p_hang = {PLUGIN, "hang", 0, 0, hang, 0, 0, &p_leave};
static const backhand_plugin p_crash = {PLUGIN, "crash", 0, 0, crash, 0, 0, &p_hang};
static const backhand_plugin p_numbers = {PLUGIN, "no_numbers", 0, 0, no_numbers, 0, 0, &p_crash};
static const backhand_plugin p_beyond = {PLUGIN, "beyond", 0, 0, beyond, 0, 0, &p_numbers};
static const backhand_plugin p_negative = {PLUGIN, "negative", 0, 0, negative, 0, 0, &p_beyond};
static const backhand_plugin p_many = {PLUGIN, "too_many", 0, 0, too_many, 0, 0, &p_negative};
static const backhand_plugin p_repeated = {PLUGIN, "repeated", 0, 0, repeated, 0, 0, &p_many};
static const backhand_plugin p_impossible = {PLUGIN, "impossible", 0, 0, impossible, 0, 0,
                                             &p_repeated};
static const backhand_plugin p_feedback = {
    PLUGIN, "feedback", 0, 0, drop_self, note_sent, note_ended, &p_impossible};
static const backhand_plugin p_counted = {
    PLUGIN, "counted", create_counted, destroy_counted, reverse, 0, 0, &p_feedback};
static const backhand_plugin p_request = {PLUGIN, "check_request", 0, 0, check_request, 0, 0,
                                          &p_counted};
static const backhand_plugin p_score = {PLUGIN, "score", create_scorer, free, score, 0, 0,
                                        &p_request};
static const backhand_plugin p_drop = {PLUGIN, "drop_self", 0, 0, drop_self, 0, 0, &p_score};
const backhand_plugin backhand_this_plugin = {PLUGIN, "reverse", 0, 0, reverse, 0, 0, &p_drop};
