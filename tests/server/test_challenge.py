"""A server proves that it holds the key to whoever else does, and is silent to everybody else."""

import pytest

import wire
from client import Connection, fetch, request
from forgers import FORGER as ACCEPTED
from forgers import STRANGER
from httpd import MPMS, SERVE_HERE, Cluster
from processes import wait_until
from wire import Key, new_secret, other_secret

KEY = new_secret()
SECOND_KEY = new_secret()
OTHER_ID = other_secret(KEY, same_id=False)
SAME_ID = other_secret(KEY, same_id=True)

CLOSED = {
    "to all": """
<Location "/">
    Require all denied
</Location>
""",
    "to whoever knows no password": """
<Location "/">
    AuthType Basic
    AuthName "nobody"
    AuthUserFile "${SITE}/users"
    Require valid-user
</Location>
""",
    "to whoever comes without TLS": """
RewriteEngine On
RewriteRule "^" "https://www.backhand.test%{REQUEST_URI}" [R=301,L]
Redirect permanent "/" "https://www.backhand.test/"
""",
}

MPM_OF = dict(zip(CLOSED, MPMS))


@pytest.fixture(scope="module", params=MPMS)
def asked(request):
    """One server that holds keys, and one that has never heard of them."""
    with Cluster(request.param, size=1, keys=[KEY, SECOND_KEY], chain=SERVE_HERE, plain_too=True) as running:
        yield running.servers[0]


def ask(server, value, source=ACCEPTED, target=wire.CHALLENGE_PATH):
    fields = [] if value is None else [f"{wire.CHALLENGE_FIELD}: {value}"]
    return fetch(server, target, *fields, source=source)


def name_of(server):
    return wait_until("the moderator has measured for the first time", lambda: server.report()["self"])


@pytest.mark.parametrize("secret", [KEY, SECOND_KEY], ids=["the key that signs", "the key that is accepted"])
def test_a_right_question_is_answered_with_a_proof(asked, secret):
    name, answers = name_of(asked), []
    for _ in range(2):
        nonce = wire.new_nonce()
        response = ask(asked, wire.question(Key(secret), asked.contact, nonce))
        assert response.status == 200
        assert response.framing == "length"
        assert response.field("Cache-Control") == "no-store"
        answers.append(wire.read_answer(response.text, Key(KEY), nonce, asked.contact, name))

    report = asked.report()
    assert [str(answer.boot_id) for answer in answers] == [report["boot_id"]] * 2
    assert answers[0].measurement < answers[1].measurement
    assert 0 <= answers[0].workers_idle <= asked.cluster.workers


def test_an_answer_is_good_for_its_own_question_only(asked):
    nonce, name = wire.new_nonce(), name_of(asked)
    body = ask(asked, wire.question(Key(KEY), asked.contact, nonce)).text
    wire.read_answer(body, Key(KEY), nonce, asked.contact, name)

    for other in [(body, Key(SECOND_KEY), nonce, asked.contact, name),
                  (body, Key(KEY), wire.new_nonce(), asked.contact, name),
                  (body, Key(KEY), nonce, "127.0.1.2:80", name),
                  (body, Key(KEY), nonce, asked.contact, "another")]:
        with pytest.raises(ValueError):
            wire.read_answer(*other)


NONCE = "00112233445566778899aabbccddeeff"
RIGHT, STRANGE = Key(KEY), Key(OTHER_ID)


def signed(message, purpose=wire.CHALLENGE, key=RIGHT):
    return f"{key.id} {NONCE} {key.tag(purpose, message.encode()).hex()}"


# Each a value of the field, for a server at this contact.
WRONG_QUESTIONS = {
    "none": lambda contact: None,
    "an empty one": lambda contact: "",
    "words": lambda contact: "who are you",
    "a tampered nonce": lambda contact: wire.question(RIGHT, contact, NONCE).replace("0011", "1100"),
    "a tampered tag": lambda contact: wire.question(RIGHT, contact, NONCE)[:-2] + "zz",
    "another tag": lambda contact: f"{RIGHT.id} {NONCE} {'00' * 16}",
    "half a tag": lambda contact: wire.question(RIGHT, contact, NONCE)[:-16],
    "a tag and a half": lambda contact: wire.question(RIGHT, contact, NONCE) + "00" * 8,
    "another contact": lambda contact: wire.question(RIGHT, "127.0.1.2:80", NONCE),
    "another port": lambda contact: wire.question(RIGHT, contact + "0", NONCE),
    "another key": lambda contact: wire.question(STRANGE, contact, NONCE),
    "another key under this one's number": lambda contact: wire.question(Key(SAME_ID), contact, NONCE),
    "another number": lambda contact: wire.question(RIGHT, contact, NONCE).replace(f"{RIGHT.id} ", "0 ", 1),
    "a number too large": lambda contact: wire.question(RIGHT, contact, NONCE).replace(" ", "000 ", 1),
    "for announcements": lambda contact: signed(f"ask\n{NONCE}\n{contact}\n", wire.ANNOUNCEMENT),
    "an answer": lambda contact: signed(f"answer\n{NONCE}\n{contact}\n"),
    "two spaces": lambda contact: wire.question(RIGHT, contact, NONCE).replace(" ", "  "),
    "more behind": lambda contact: wire.question(RIGHT, contact, NONCE) + " more",
    "very much": lambda contact: "1 " * 4000,
}


@pytest.mark.parametrize("name", WRONG_QUESTIONS)
def test_a_wrong_question_gets_what_httpd_says_of_any_page_that_is_not_there(asked, name):
    value = WRONG_QUESTIONS[name](asked.contact)

    assert_is_answered_as_by_plain_httpd(asked, value)


def test_a_right_question_of_a_stranger_gets_the_same(asked):
    assert_is_answered_as_by_plain_httpd(asked, wire.question(RIGHT, asked.contact, NONCE), source=STRANGER)


@pytest.mark.parametrize("target", ["/.well-known/", "/.well-known/backhand/", "/.well-known/Backhand",
                                    "/.well-known/backhand.html", "/small.html/../.well-known/backhand.bak"])
def test_a_right_question_elsewhere_gets_the_same(asked, target):
    assert_is_answered_as_by_plain_httpd(asked, wire.question(RIGHT, asked.contact, NONCE), target=target)


def assert_is_answered_as_by_plain_httpd(server, value, **how):
    plain = server.cluster.plain
    answered, expected = server.counters()["challenges_answered"], ask(plain, value, **how)
    response = ask(server, value, **how)

    assert expected.status == 404
    assert response.status_line == expected.status_line
    assert response.body == expected.body
    assert [name for name, _ in response.fields] == [name for name, _ in expected.fields]
    assert server.counters()["challenges_answered"] == answered


def test_wrong_questions_are_counted_and_nothing_is_logged_of_them(asked):
    before, said = asked.counters(), asked.error_log()
    for name, wrong in WRONG_QUESTIONS.items():
        ask(asked, wrong(asked.contact))
    after = asked.counters()

    assert after["challenges_refused"] - before["challenges_refused"] == len(WRONG_QUESTIONS) - 1
    assert after["challenges_answered"] == before["challenges_answered"]
    assert asked.error_log() == said


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_question_with_a_body_leaves_the_connection_in_order(asked, method):
    field = f"{wire.CHALLENGE_FIELD}: {wire.question(RIGHT, asked.contact, NONCE)}"
    with Connection(asked.address, asked.port, source=ACCEPTED) as connection:
        connection.send(request(wire.CHALLENGE_PATH, field, method=method, body=b"x" * 100_000))
        connection.response(method)
        connection.send(request("/small.html"))
        assert connection.response().status == 200


def test_a_server_without_keys_answers_no_question():
    with Cluster("event", size=1) as cluster:
        server, = cluster.servers
        assert ask(server, wire.question(RIGHT, server.contact, NONCE)).status == 404


@pytest.mark.parametrize("closed", CLOSED)
def test_a_server_proves_itself_however_closed_its_site_is(closed):
    with Cluster(MPM_OF[closed], size=1, keys=[KEY]) as cluster:
        server, = cluster.servers
        name = name_of(server)
        server.site_lines += CLOSED[closed]
        server.write_configuration()
        server.restart()
        wait_until("the site is closed", lambda: fetch(server).status != 200)

        nonce = wire.new_nonce()
        response = ask(server, wire.question(RIGHT, server.contact, nonce))
        assert response.status == 200
        wire.read_answer(response.text, RIGHT, nonce, server.contact, name)


def test_members_that_answer_to_their_sites_names_only_prove_themselves():
    with Cluster("event", size=2, keys=[KEY], server_lines="StrictHostCheck On") as cluster:
        for server in cluster.servers:
            assert fetch(server, host=server.contact).status == 400
        cluster.wait_until_ok()


CACHE = """
LoadModule cache_module ${MODULES}/mod_cache.so
LoadModule cache_socache_module ${MODULES}/mod_cache_socache.so
CacheSocache shmcb
CacheEnable socache /.well-known
CacheHeader On
Header always set Cache-Control "max-age=600"
"""
A_PAGE_FOR_EVERYTHING = 'AliasMatch "^/.well-known" "${SITE}/htdocs/small.html"'


def test_no_cache_answers_in_a_servers_place():
    with Cluster("event", size=1, keys=[KEY], chain=SERVE_HERE, backhand_lines=CACHE,
                 site_lines=A_PAGE_FOR_EVERYTHING) as cluster:
        server, = cluster.servers
        name = name_of(server)
        wait_until("the page is cached", lambda: "HIT" in ask(server, None, source=STRANGER).field("X-Cache"))
        for _ in range(2):
            nonce = wire.new_nonce()
            response = ask(server, wire.question(RIGHT, server.contact, nonce))
            wire.read_answer(response.text, RIGHT, nonce, server.contact, name)
        assert "HIT" in ask(server, None, source=STRANGER).field("X-Cache")
