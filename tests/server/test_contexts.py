"""Chains stand wherever httpd reads them, and merge as its sections do: server, virtual host, directory, files,
location, .htaccess and <If>."""

import pytest

import client
from client import fetch, new_token
from httpd import FORWARD_ALWAYS, SERVE_HERE, Cluster

OTHER_SITE = "other.backhand.test"
BARE_SITE = "bare.backhand.test"

# Sections of httpd's rank, lowest first; each place under /sections/ is decided by another.
SECTIONS = f"""
<Directory "${{SITE}}/htdocs/in">
    AllowOverride FileInfo
</Directory>
<Directory "${{SITE}}/htdocs/in/directory">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
</Directory>
<Directory "${{SITE}}/htdocs/in/directory/kept-here">
    {SERVE_HERE}
</Directory>
<DirectoryMatch "/in/by-pattern">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
</DirectoryMatch>
<Files "forwarded.html">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
</Files>
<FilesMatch "\\.kept\\.html$">
    {SERVE_HERE}
</FilesMatch>
<Location "/in/location">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
</Location>
<LocationMatch "^/in/location/.*/kept-here/">
    {SERVE_HERE}
</LocationMatch>
<If "%{{HTTP:X-If}} == 'forward'">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
</If>
<ElseIf "%{{HTTP:X-If}} == 'keep'">
    {SERVE_HERE}
</ElseIf>
<If "reqenv('stay') == 'yes'">
    {SERVE_HERE}
</If>
SetEnvIf X-Stay yes stay=yes
"""

HTACCESS = {
    "in/htaccess": FORWARD_ALWAYS,
    "in/htaccess/kept-here": SERVE_HERE,
    "in/htaccess/if": f"<If \"%{{QUERY_STRING}} == 'keep'\">\n{SERVE_HERE}\n</If>",
    "in/htaccess/files": f"<Files \"kept.html\">\n{SERVE_HERE}\n</Files>",
    "in/location/htaccess": SERVE_HERE,
    "in/directory/kept-here/again": FORWARD_ALWAYS,
    "in/directory/twice": f"{SERVE_HERE}\n{FORWARD_ALWAYS}",
    "in/directory/self-redirect": "BackhandSelfRedirect Off",
    "in/htaccess/trace": "BackhandTrace 127.0.0.0/8",
    "in/htaccess/header": "Backhand byHeader X-Class ^reports$\nBackhand byAge 60\nBackhand removeSelf",
    "in/htaccess/three": "Backhand byAge 60 seconds",
}

PAGES = ["page.html", "forwarded.html", "a.kept.html", "kept.html"]


def virtual_hosts(number):
    """Beside the first site: one with a chain of its own, and one without."""
    return f"""
<VirtualHost *:${{PORT}}>
    ServerName {OTHER_SITE}
    DocumentRoot "${{SITE}}/htdocs"
    {SERVE_HERE}
    <Location "/in/location">
        {FORWARD_ALWAYS.replace(chr(10), chr(10) + "        ")}
    </Location>
    <Directory "${{SITE}}/htdocs">
        Require all granted
    </Directory>
</VirtualHost>
<VirtualHost *:${{PORT}}>
    ServerName {BARE_SITE}
    DocumentRoot "${{SITE}}/htdocs"
    <Directory "${{SITE}}/htdocs">
        Require all granted
    </Directory>
</VirtualHost>
"""


@pytest.fixture(scope="module")
def cluster():
    made = Cluster("event", chain="", site_lines=SECTIONS, server_lines=FORWARD_ALWAYS)
    for server in made.servers:
        server.tail_lines = f"Define PORT {made.port}\n" + virtual_hosts(server.number)
        server.site_lines += f"\n{SERVE_HERE}"
    with made as running:
        for folder in {"in/directory", "in/by-pattern", "in/location", "in/plain", "in/directory/kept-here",
                       "in/location/deep/kept-here", *HTACCESS}:
            (running.site / "htdocs" / folder).mkdir(parents=True, exist_ok=True)
            for page in PAGES:
                (running.site / "htdocs" / folder / page).write_text("a page\n")
        for folder, lines in HTACCESS.items():
            (running.site / "htdocs" / folder / ".htaccess").write_text(lines + "\n")
        yield running.wait_until_complete()


def goes_away(cluster, target, *fields, host=client.SITE, status=200):
    """Whether the first server forwards the request."""
    token = new_token()
    response = fetch(cluster.servers[0], target, f"X-Token: {token}", *fields, host=host)
    assert response.status == status, response
    return cluster.servers[0].logged(token)[0].peer == cluster.servers[1].contact


@pytest.mark.parametrize("host, forwarded", [(client.SITE, False), (OTHER_SITE, False), (BARE_SITE, True)])
def test_a_virtual_host_has_the_servers_chain_or_one_of_its_own(cluster, host, forwarded):
    assert goes_away(cluster, "/in/plain/page.html", host=host) == forwarded


def test_a_location_counts_in_its_own_virtual_host_only(cluster):
    assert goes_away(cluster, "/in/location/page.html", host=OTHER_SITE)
    assert not goes_away(cluster, "/in/directory/page.html", host=OTHER_SITE)


@pytest.mark.parametrize("target, forwarded", [
    ("/in/plain/page.html", False),
    ("/in/directory/page.html", True),
    ("/in/directory/kept-here/page.html", False),
    ("/in/directory/kept-here/again/page.html", True),
    ("/in/directory/twice/page.html", True),
    ("/in/by-pattern/page.html", True),
    ("/in/plain/forwarded.html", True),
    ("/in/directory/a.kept.html", False),
    ("/in/location/page.html", True),
    ("/in/location/a.kept.html", True),
    ("/in/location/deep/kept-here/page.html", False),
    ("/in/location/htaccess/page.html", True),
    ("/in/htaccess/page.html", True),
    ("/in/htaccess/kept-here/page.html", False),
    ("/in/htaccess/kept-here/forwarded.html", True),
    ("/in/htaccess/if/page.html", True),
    ("/in/htaccess/if/page.html?keep", False),
    ("/in/htaccess/files/page.html", True),
    ("/in/htaccess/files/kept.html", False),
])
def test_the_section_of_the_highest_rank_decides(cluster, target, forwarded):
    assert goes_away(cluster, target) == forwarded


@pytest.mark.parametrize("target, fields, forwarded", [
    ("/in/plain/page.html", ["X-If: forward"], True),
    ("/in/location/page.html", ["X-If: keep"], False),
    ("/in/location/page.html", ["X-If: other"], True),
    ("/in/plain/page.html", ["X-If: forward", "X-Stay: yes"], False),
    ("/in/htaccess/kept-here/page.html", ["X-If: forward"], True),
])
def test_if_decides_last(cluster, target, fields, forwarded):
    assert goes_away(cluster, target, *fields) == forwarded


def test_a_folder_may_ask_for_a_header(cluster):
    assert goes_away(cluster, "/in/htaccess/header/page.html", "X-Class: reports")
    assert not goes_away(cluster, "/in/htaccess/header/page.html", "X-Class: batch")
    assert not goes_away(cluster, "/in/htaccess/header/page.html")


def test_a_folder_may_redirect_to_self_but_show_no_traces(cluster):
    assert goes_away(cluster, "/in/directory/self-redirect/page.html")
    assert not goes_away(cluster, "/in/htaccess/trace/page.html", status=500)
    assert "BackhandTrace not allowed here" in cluster.servers[0].error_log()


def test_a_function_says_that_it_takes_no_second_argument(cluster):
    assert not goes_away(cluster, "/in/htaccess/three/page.html", status=500)
    assert 'byAge "60 seconds": expected a number of seconds' in cluster.servers[0].error_log()
