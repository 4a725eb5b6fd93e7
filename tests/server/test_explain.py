"""A server says what it would decide about a request, and why, without doing anything about it."""

import json
import re
import subprocess

import pytest

from client import fetch
from httpd import COMMAND_LINE, FORWARD_ALWAYS, MPMS, REPORT, SERVE_HERE, Cluster
from client import SITE

SECTIONS = f"""
Alias "/traced" "${{SITE}}/htdocs"
Alias "/reports" "${{SITE}}/htdocs"
<Location "/">
    BackhandTrace 127.0.0.9 127.0.0.16/28
</Location>
<Location "/auto">
    Backhand auto
</Location>
<Location "/off">
    {SERVE_HERE}
</Location>
<Location "/reports">
    Backhand byHeader X-Class ^reports$
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
</Location>
<Location "/session">
    Backhand bySession id
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
</Location>
<Location "/theory">
    BackhandDryRun On
</Location>
SetEnvIf X-Mark yes marked
<Location "/marked">
    {SERVE_HERE}
    <If "reqenv('marked') != ''">
        {FORWARD_ALWAYS.replace(chr(10), chr(10) + "        ")}
    </If>
</Location>
<Location "/secret">
    AuthType Basic
    AuthName secret
    AuthUserFile "${{SITE}}/users"
    Require valid-user
</Location>
<Location "/closed-report">
    SetHandler backhand-handler
    Require ip 10.99.99.99
</Location>
<Location "/no-traces">
    BackhandTrace Off
</Location>
RewriteEngine On
RewriteMap told "prg:${{SITE}}/told.sh"
RewriteRule "^/rewritten-by-program" "${{told:x}}"
"""

TOLD = "#!/bin/sh\nwhile read key; do echo \"$key\" >> \"$0.log\"; echo /small.html; done\n"


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    made = Cluster(request.param, size=3, site_lines=SECTIONS)
    script = made.site / "told.sh"
    script.write_text(TOLD)
    script.chmod(0o755)
    (made.site / "htdocs" / "by-folder").mkdir()
    (made.site / "htdocs" / "by-folder" / ".htaccess").write_text(
        '<If "%{REQUEST_URI} =~ /forwarded/">\nBackhand byAge 60\n</If>\n')
    (made.site / "htdocs" / "by-folder" / "forwarded.html").write_text("a page\n")
    (made.site / "htdocs" / "by-folder" / "page.html").write_text("a page\n")
    for server in made.servers:
        server.site_lines += '\n<Directory "${SITE}/htdocs/by-folder">\nAllowOverride FileInfo\n</Directory>'
    with made as running:
        yield running.wait_until_complete()


def asked(server, target, *headers):
    """The explanation as JSON."""
    fields = "".join(f"&header={header.replace(' ', '%20')}" for header in headers)
    response = fetch(server, f"{REPORT}?explain=http://{SITE}{target}{fields}&format=json")
    assert response.status == 200, response
    return json.loads(response.body)


def names(server, entries):
    slots = {entry["slot"]: entry["contact"] for entry in server.report()["servers"]}
    return [slots[entry["slot"]] for entry in entries]


def test_says_what_each_function_did_and_who_was_chosen(cluster):
    first = cluster.servers[0]
    head, other = first.peers_in_order()
    answer = asked(first, "/small.html")

    assert answer["chain"] == "byAge 60, removeSelf"
    assert [step["text"] for step in answer["functions"]] == ["byAge 60", "removeSelf"]
    assert names(first, answer["functions"][0]["order"]) == [first.contact, head.contact, other.contact]
    assert names(first, answer["functions"][1]["order"]) == [head.contact, other.contact]
    assert answer["verdict"] == f"Sent to {head.contact}; if it fails, to {other.contact}, or served here."
    assert [entry["why"] for entry in answer["servers"]] == ["self", "candidate", "candidate"]


def test_does_nothing_about_it(cluster):
    first = cluster.servers[0]
    before = first.counters()
    asked(first, "/small.html")
    after = first.counters()

    for counter in ("decisions", "forwarded", "connections_opened", "served_here_by_choice"):
        assert after[counter] == before[counter], counter


@pytest.mark.parametrize("target, headers, verdict", [
    ("/off", [], None),
    # The request before may still be in progress here.
    ("/auto", [], r"Served here: this server has 0 other requests in progress|Sent to "),
    ("/reports/small.html", [], r"Served here: a filter of the chain does not match"),
    ("/reports/small.html", ["X-Class: reports"], r"Sent to "),
    ("/marked", ["X-Mark: yes"], r"Sent to "),
    ("/by-folder/forwarded.html", [], r"Served here: self is the head"),
    ("/by-folder/page.html", [], r"Sent to "),
])
def test_goes_by_the_sections_and_the_headers(cluster, target, headers, verdict):
    answer = asked(cluster.servers[0], target, *headers)

    if verdict is None:
        assert "Backhand off applies: served here." in answer["remarks"]
    else:
        assert re.match(verdict, answer["verdict"]), answer


def test_knows_sessions(cluster):
    first = cluster.servers[0]
    owner = first.peers_in_order()[1]
    digits = "".join(f"{int(byte):02x}" for byte in owner.address.split("."))
    answer = asked(first, "/session", f"Cookie: id={digits}")

    assert answer["verdict"].startswith(f"Sent to {owner.contact}")
    assert answer["functions"][0]["remark"] == "the session is at the head"


def test_says_what_overrules_the_decision(cluster):
    first = cluster.servers[0]

    assert any("BackhandDryRun On" in remark for remark in asked(first, "/theory")["remarks"])
    assert any("about this very server" in remark for remark in asked(first, REPORT)["remarks"])
    assert any("Upgrade" in remark for remark in asked(first, "/small.html", "Upgrade: websocket")["remarks"])


def test_asks_for_no_password_and_runs_no_program(cluster):
    first = cluster.servers[0]

    assert fetch(first, "/secret").status == 401
    assert asked(first, "/secret")["verdict"].startswith("Sent to ")
    answer = asked(first, "/rewritten-by-program")
    assert any("RewriteRule lines are not run" in remark for remark in answer["remarks"])
    assert not (cluster.site / "told.sh.log").exists()


def test_is_told_only_where_the_report_is(cluster):
    assert fetch(cluster.servers[0], f"/closed-report?explain=http://{SITE}/").status == 403


@pytest.mark.parametrize("query, wrong", [
    ("explain=", "expected a URL"),
    ("explain=relative", "expected a URL"),
    ("explain=/a%20b", "expected a URL"),
    ("explain=/&header=Cookie", "expected Name: value"),
    ("explain=/&header=A:%20b%0d%0aC:%20d", "expected Name: value"),
    ("explain=/%zz", "not URL-encoded"),
    ("explain=/" + "&header=A:b" * 65, "expected at most 64"),
])
def test_says_what_is_wrong_with_the_question(cluster, query, wrong):
    response = fetch(cluster.servers[0], f"{REPORT}?{query}")

    assert response.status == 400
    assert wrong in response.text


def test_the_command_line_prints_it(cluster):
    first = cluster.servers[0]
    head = first.peers_in_order()[0]
    done = subprocess.run(
        [COMMAND_LINE, "explain", f"http://{SITE}/reports/small.html", "--report",
         f"http://{first.contact}{REPORT}", "--header", "X-Class: reports", "--header", "Host: " + SITE],
        capture_output=True, text=True, timeout=30, check=False)

    # The report page itself is asked for by address, which only the first virtual host answers.
    assert done.returncode == 0, done
    assert "Chain: byHeader X-Class ^reports$, byAge 60, removeSelf" in done.stdout
    assert f"Sent to {head.contact}" in done.stdout


def test_the_command_line_says_what_it_cannot_use(cluster):
    done = subprocess.run([COMMAND_LINE, "explain", "small.html"], capture_output=True, text=True, timeout=30,
                          check=False)

    assert done.returncode == 2
    assert "expected an http or https URL" in done.stderr


def trace_of(server, target, source):
    return fetch(server, target, source=source).all("Backhand-Trace")


@pytest.mark.parametrize("source, seen", [("127.0.0.9", True), ("127.0.0.17", True), ("127.0.0.1", False)])
def test_a_response_says_what_was_decided_to_those_who_may_know(cluster, source, seen):
    first = cluster.servers[0]
    head = first.peers_in_order()[0]
    for target in ("/small.html", "/auto/small.html", "/reports/small.html"):
        assert len(trace_of(first, target, source)) == (1 if seen else 0), target
    if seen:
        assert f"Sent to {head.contact}" in trace_of(first, "/small.html", source)[0]
        assert trace_of(first, "/auto/small.html", source) == [
            "Served here: this server had nothing else to do."]


def test_a_section_can_end_traces(cluster):
    assert trace_of(cluster.servers[0], "/no-traces", "127.0.0.9") == []
