"""What the documents promise a reader, checked: their programs run and print what they say, their
links lead somewhere, and what they list is what the code has."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

WIRE_FORMAT = (ROOT / "docs" / "wire_format.md").read_text()
DECODER = re.search(r"^```python\n(.*?)^```$", WIRE_FORMAT, re.MULTILINE | re.DOTALL).group(1)
UNSIGNED, SIGNED = re.findall(r"^```\n([0-9a-f\n]+)```$", WIRE_FORMAT, re.MULTILINE)
PRINTED = re.search(r"^```\n(boot_id = .*?)^```$", WIRE_FORMAT, re.MULTILINE | re.DOTALL).group(1)
SECRET = re.search(r"the secret `(\w+)`", WIRE_FORMAT).group(1)


def relative(path):
    return str(path.relative_to(ROOT))


def decode(hexadecimal, *arguments):
    """Runs the decoder as a reader would."""
    return subprocess.run([sys.executable, "-c", DECODER, *arguments], input=hexadecimal, capture_output=True,
                          text=True, timeout=60, check=False)


def with_one_bit_changed(hexadecimal, offset):
    datagram = bytearray.fromhex(hexadecimal)
    datagram[offset] ^= 1
    return datagram.hex()


@pytest.mark.parametrize("hexadecimal, arguments", [(UNSIGNED, []), (SIGNED, []), (SIGNED, [SECRET])],
                         ids=["unsigned", "signed", "signed and verified"])
def test_the_decoder_prints_what_the_document_says(hexadecimal, arguments):
    done = decode(hexadecimal, *arguments)

    assert done.stderr == ""
    assert done.stdout == PRINTED


@pytest.mark.parametrize("offset", [5, 6, 23, 100, -17, -1])
def test_the_decoder_refuses_a_signed_announcement_that_was_changed(offset):
    done = decode(with_one_bit_changed(SIGNED, offset), SECRET)

    assert (done.returncode, done.stdout) == (1, "")
    assert "not signed with this key" in done.stderr


@pytest.mark.parametrize("hexadecimal, secret", [(SIGNED, SECRET[::-1]), (UNSIGNED, SECRET)],
                         ids=["with another key", "unsigned"])
def test_the_decoder_refuses_what_this_key_has_not_signed(hexadecimal, secret):
    assert "not signed with this key" in decode(hexadecimal, secret).stderr


@pytest.mark.parametrize("hexadecimal", [UNSIGNED, SIGNED], ids=["unsigned", "signed"])
def test_the_examples_have_the_size_the_document_says(hexadecimal):
    assert f"{len(bytes.fromhex(hexadecimal))} bytes" in WIRE_FORMAT


def test_the_example_of_a_challenge_is_signed_as_the_document_says():
    names = {"__name__": "document"}
    exec(compile(DECODER, "docs/wire_format.md", "exec"), names)
    key_id, nonce, question_tag = re.search(r"Backhand-Challenge: (\d+) (\w+) (\w+)", WIRE_FORMAT).groups()
    answer = re.search(r"^    (backhand 1 .*)\n", WIRE_FORMAT, re.MULTILINE).group(1)
    signed = [re.sub(r"^    ", "", lines, flags=re.MULTILINE)
              for lines in re.findall(r"\n\n((?:    .*\n)+)", WIRE_FORMAT) if lines.startswith(("    ask", "    answer"))]

    expected = [names["tag"](SECRET.encode(), b"challenge", message.encode()).hex() for message in signed]

    assert names["key_id"](SECRET.encode()) == int(key_id)
    assert [message.split("\n")[1] for message in signed] == [nonce, nonce]
    assert [question_tag, answer.split()[-1]] == expected
    assert answer.startswith(signed[1].splitlines()[-1] + " ")
    assert f"Content-Length: {len(answer) + 1}\n" in WIRE_FORMAT


def test_the_example_of_a_probe_is_signed_as_the_document_says():
    names = {"__name__": "document"}
    exec(compile(DECODER, "docs/wire_format.md", "exec"), names)
    probes = [bytes.fromhex(line) for line in re.findall(r"^    (42485052\w+)$", WIRE_FORMAT, re.MULTILINE)]
    contact = bytes(10) + bytes([255, 255, 10, 0, 5, 10, 0, 80])

    expected = [names["tag"](SECRET.encode(), b"probe", probe[:24] + contact) for probe in probes]

    assert [(probe[5], probe[6], len(probe)) for probe in probes] == [(208, 1, 40), (208, 2, 40)]
    assert [probe[24:] for probe in probes] == expected


def test_the_report_and_its_document_have_the_same_fields_and_defaults():
    code = (ROOT / "src" / "cluster" / "report_fields.h").read_text()
    members = re.findall(r'\.name = "(\w+)",\s*\.(?:narrow|wide) = &LoadReport::(\w+)', code)
    initial = dict(re.findall(r"std::uint(?:32|64)_t (\w+) = (\d+);",
                              (ROOT / "src" / "cluster" / "server_report.h").read_text()))
    in_code = {name: initial[member] for name, member in members}
    in_code.update((name, "false") for name in re.findall(r'\.name = "(\w+)", \.flag', code))

    in_document = dict(re.findall(r"^\| `(\w+)` \| (?:u32|u64|flag) \|[^|]*\| (\w+) \|", WIRE_FORMAT, re.MULTILINE))

    assert in_document == in_code


def test_every_counter_is_explained():
    code = (ROOT / "src" / "cluster" / "counters.h").read_text()
    names = re.search(r"counter_names = \{(.*?)\};", code, re.DOTALL).group(1)
    documents = WIRE_FORMAT + (ROOT / "docs" / "directives.md").read_text()

    assert set(re.findall(r'"(\w+)"', names)) <= set(re.findall(r"`(\w+)`", documents))


def anchors_of(text):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors_of(there.read_text()), target
