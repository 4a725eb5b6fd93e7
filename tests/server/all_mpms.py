"""Clusters with a server of each MPM, so that one test shows all three at once.

A fourth server looks on: what is read of it are the others' announcements, undisturbed by the reading.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import client
from httpd import BUILD, FORWARD_ALWAYS, MPMS, Cluster
from processes import wait_until

# The servers are number 1 to 3, in the order of MPMS; number 4 looks on.
ONLOOKER = 4

# To peers, and to all of them: without byRandom the first in the table would get everything.
SPREAD = f"{FORWARD_ALWAYS}\nBackhand byRandom"

# A page that takes its time without a script: it waits for at least so long.
SLOW_COST_MS = 40
SLOW_PAGE = f"""\
LoadModule demo_page_module {BUILD}/mod_demo_page.so
DemoMode tokens
DemoTokens 64 ${{FOLDER}}/tokens
DemoCost {SLOW_COST_MS}"""
SLOW_LOCATIONS = """\
<LocationMatch "^/(served-here/)?slow$">
SetHandler demo-page
</LocationMatch>
ScriptAlias "/served-here/cgi" "${SITE}/cgi"
<Location "/served-here">
Backhand off
</Location>"""


def make_tokens(server):
    """What the slow page shares out."""
    tokens = server.folder / "tokens"
    tokens.touch()
    if os.geteuid() == 0:
        shutil.chown(tokens, "www-data")


def cluster_of_all_mpms(**settings):
    """One server of each MPM, and the onlooker, which runs event."""
    made = Cluster(lambda number: [*MPMS, "event"][number - 1], size=ONLOOKER,
                   site_name=lambda number: "onlooker.backhand.test" if number == ONLOOKER else client.SITE,
                   **{"server_lines": SLOW_PAGE, "site_lines": SLOW_LOCATIONS, **settings})
    for server in made.servers:
        make_tokens(server)
    return made


def at_once(action, servers):
    """Does the same to all servers at the same time."""
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(action, servers))


def start_all(servers):
    # Not by threads: the kernel ends a server when the thread that started it is gone.
    for server in servers:
        server.write_configuration()
        server.launch()
    for server in servers:
        wait_until(lambda server=server: f"{server} answers\n{server.diary()}", server.answers)


def wait_for_news(viewer, servers, limit_s=30):
    """Waits for a newer announcement of each server."""
    def measured(server):
        entry = viewer.sees(server)
        return (int(entry["boot_id"]), entry["measurement"]) if entry else (0, 0)

    before = {server: measured(server) for server in servers}
    for server in servers:
        wait_until(lambda server=server: f"{viewer} hears of {server}: {viewer.sees(server)}",
                   lambda server=server: measured(server) > before[server], limit_s=limit_s)
