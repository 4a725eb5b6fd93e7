"""Plug-ins for the tests, built as their authors would: with a C compiler and the headers that are installed."""

import subprocess
from pathlib import Path

INCLUDE = Path(__file__).resolve().parents[2] / "include"

# Keeps the server whose address ends in NUMBER.
CHOSEN = """
#include <backhand/plugin.h>
static int decide(void *plugin, const backhand_request *request, const backhand_candidate *candidates, int n,
                  backhand_answer *answer)
{
    int i, kept = 0;
    (void)plugin; (void)request;
    for (i = 0; i < n; i++)
        if (candidates[i].address[15] == NUMBER)
            answer->order[kept++] = i;
    return kept;
}
const backhand_plugin backhand_this_plugin = {
    .abi = BACKHAND_PLUGIN_ABI, .size = sizeof(backhand_plugin), .name = "chosen", .decide = decide};
"""

# The same, as in 2001.
CHOSEN_OF_2001 = """
#include <arpa/inet.h>
#include "mod_backhand.h"
int chosen(request_rec *r, int *servers, int *n, char *arg)
{
    int i, mycount = 0;
    for (i = 0; i < *n; i++)
        if ((ntohl(serverstats[servers[i]].contact.sin_addr.s_addr) & 255) == NUMBER)
            servers[mycount++] = servers[i];
    *n = mycount;
    return mycount;
}
"""

OF_ANOTHER_VERSION = CHOSEN.replace(".abi = BACKHAND_PLUGIN_ABI", ".abi = BACKHAND_PLUGIN_ABI + 1")
OF_ANOTHER_NAME = CHOSEN.replace('"chosen"', '"another"')
CRASHING = CHOSEN.replace("int i, kept = 0;", "int i, kept = 0; if (n > 100) *(volatile int *)0 = 1;")
HANGING = CHOSEN.replace("int i, kept = 0;", "int i, kept = 0; volatile int on = 1; while (on) {}")
CRASHING_WHEN_LOADED = CHOSEN + """
#include <stdlib.h>
__attribute__((constructor)) static void begin(void) { abort(); }
"""
WITHOUT_ANYTHING = "int nothing = 0;\n"

# Answers with servers that do not exist, one of them twice.
NONSENSE = CHOSEN.replace("return kept;", "answer->order[0] = 4711; answer->order[1] = kept ? answer->order[2] : 0; "
                          "return n > 2 ? 2 : n;")

# The same mistakes as in 2001.
NONSENSE_OF_2001 = CHOSEN_OF_2001.replace("*n = mycount;", "servers[0] = 4711; *n = mycount = *n > 2 ? 2 : *n;")
CRASHING_OF_2001 = CHOSEN_OF_2001.replace("int i, mycount = 0;",
                                          "int i, mycount = 0; if (*n > 100) *(volatile int *)0 = 1;")
ENDING = CHOSEN.replace("int i, kept = 0;", "int i, kept = 0; if (n > 100) exit(0);").replace(
    "#include <backhand", "#include <stdlib.h>\n#include <backhand")

# Writes a line into the file of its argument for each call that tells what became of a request.
TELLING = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <backhand/plugin.h>
static void *create(const char *argument, char *error, size_t error_size)
{
    if (*argument != '/') {
        snprintf(error, error_size, "expected the path of a file");
        return NULL;
    }
    return strdup(argument);
}
static int decide(void *plugin, const backhand_request *request, const backhand_candidate *candidates, int n,
                  backhand_answer *answer)
{
    int i, kept = 0;
    (void)plugin; (void)request;
    for (i = 0; i < n; i++)
        if ((candidates[i].flags & BACKHAND_IS_SELF) == 0)
            answer->order[kept++] = i;
    return kept;
}
static void tell(const char *path, const char *line)
{
    FILE *file = fopen(path, "a");
    if (file != NULL) {
        fputs(line, file);
        fclose(file);
    }
}
static void sent(void *plugin, const backhand_request *request, const backhand_candidate *chosen)
{
    char line[200];
    snprintf(line, sizeof line, "sent %.*s to 127.0.1.%u\\n", (int)request->target.length, request->target.bytes,
             (unsigned)chosen->address[15]);
    tell(plugin, line);
}
static void ended(void *plugin, const backhand_request *request, uint32_t id, const backhand_outcome *outcome)
{
    char line[200];
    (void)id;
    snprintf(line, sizeof line, "ended %.*s %s %d\\n", (int)request->target.length, request->target.bytes,
             outcome->answered ? "answered" : "failed", outcome->status);
    tell(plugin, line);
}
const backhand_plugin backhand_this_plugin = {
    .abi = BACKHAND_PLUGIN_ABI, .size = sizeof(backhand_plugin), .name = "telling", .create = create,
    .destroy = free, .decide = decide, .sent = sent, .ended = ended};
"""

# Writes into the file of its argument what it sees of a request.
SEEING = TELLING.split("static int decide")[0] + """
static void put(FILE *file, const char *name, backhand_text text)
{
    if (text.bytes == NULL)
        fprintf(file, "%s=none ", name);
    else
        fprintf(file, "%s=%.*s ", name, (int)text.length, text.bytes);
}
static int decide(void *plugin, const backhand_request *request, const backhand_candidate *candidates, int n,
                  backhand_answer *answer)
{
    FILE *file = fopen(plugin, "a");
    (void)candidates; (void)answer;
    if (file == NULL)
        return n;
    put(file, "method", request->method);
    put(file, "host", request->host);
    put(file, "target", request->target);
    put(file, "query", request->query);
    put(file, "site", request->virtual_host);
    put(file, "header", backhand_header(request, "x-colour"));
    put(file, "cookie", backhand_cookie(request, "id"));
    put(file, "set", backhand_environment(request, "marked"));
    put(file, "ruled", backhand_environment(request, "ruled"));
    fprintf(file, "client=%u.%u tls=%d n=%d\\n", request->client_address[12], request->client_address[15],
            request->is_tls, n);
    fclose(file);
    return n;
}
const backhand_plugin backhand_this_plugin = {
    .abi = BACKHAND_PLUGIN_ABI, .size = sizeof(backhand_plugin), .name = "seeing", .create = create,
    .destroy = free, .decide = decide};
"""


def install(path, source, mode=0o644, **macros):
    """Builds a plug-in beside its place and renames it there, as an administrator should."""
    new = path.with_suffix(".new")
    flags = [f"-D{name}={value}" for name, value in macros.items()]
    of_2001 = '#include "mod_backhand.h"' in source
    if of_2001:
        for command in (["apxs", "-q", "INCLUDEDIR"], ["apr-1-config", "--includes"], ["apr-1-config", "--cppflags"]):
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            flags += [word if word.startswith("-") else f"-I{word}" for word in said]
        flags += ["-std=gnu89", f"-I{INCLUDE}/backhand"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", f"-I{INCLUDE}", *flags, "-x", "c", "-", "-o", new],
                   input=source, check=True, text=True)
    new.chmod(mode)
    new.rename(path)
    return path
