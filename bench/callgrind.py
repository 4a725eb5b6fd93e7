"""Reads callgrind's output files: instructions by function, and what calls what.

The format: https://valgrind.org/docs/manual/cl-format.html.  Only one kind of event, instructions.
"""

import re
from collections import defaultdict, namedtuple

Function = namedtuple("Function", "object name")

# In output filters these lead to the next filter, whose cost is not the caller's.
PASSES_ON = ("ap_pass_brigade", "ap_get_brigade")


class Profile:
    """Counts by function: `own`, `calls` (to it), `inclusive`; and by (caller, called): `edges`."""

    def __init__(self):
        self.total = 0.0
        self.own = defaultdict(float)
        self.calls = defaultdict(float)
        self.inclusive = defaultdict(float)
        self.edges = defaultdict(lambda: [0.0, 0.0])  # how often, at what inclusive cost

    def functions(self):
        return set(self.own) | set(self.calls)

    def callers_of(self, called):
        """Those that call it, the most frequent first."""
        found = [(count, caller) for (caller, to), (count, _) in self.edges.items() if to == called and count > 0]
        return [caller for _, caller in sorted(found, reverse=True)]


def per_request(shorter, longer, requests):
    """The difference of two runs of which one answered `requests` more."""
    result = Profile()
    result.total = (longer.total - shorter.total) / requests
    for kind in ("own", "calls", "inclusive"):
        before, after, into = (getattr(profile, kind) for profile in (shorter, longer, result))
        for key in set(before) | set(after):
            into[key] = (after.get(key, 0) - before.get(key, 0)) / requests
    for key in set(shorter.edges) | set(longer.edges):
        before, after = shorter.edges.get(key, (0, 0)), longer.edges.get(key, (0, 0))
        result.edges[key] = [(after[0] - before[0]) / requests, (after[1] - before[1]) / requests]
    return result


def largest(keys, costs, count):
    """Those that cost at least 1 instruction, more or less, the greatest difference first."""
    ranked = sorted((key for key in keys if abs(costs[key]) >= 1), key=lambda key: (-abs(costs[key]), key))
    return ranked[:count]


def is_ours(function):
    return function.object.startswith("mod_backhand")


def label(function, profile):
    """Debian's httpd has lost the names of its static functions; their callers tell what they are."""
    text = f"{function.object}: {function.name}"[:90]
    callers = profile.callers_of(function) if function.name.startswith("0x") else []
    return f"{text}, called by {callers[0].name}" if callers else text


def read(path):
    """The profile in one output file."""
    profile = Profile()
    names = {"ob": {}, "fn": {}}
    here, there = {"ob": "?", "fn": "?"}, {}
    call_count = None
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if position := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line):
                of_called, kind, number, name = position.groups()
                if name is not None:
                    names[kind][number] = _short_name(kind, name)
                (there if of_called else here)[kind] = names[kind][number]
            elif line.startswith("calls="):
                call_count = int(line[6:].split()[0])
            elif line[:1].isdigit() or line[:1] in "+-*":
                cost = int(line.split()[-1])
                caller = Function(here["ob"], here["fn"])
                if call_count is None:
                    profile.own[caller] += cost
                    profile.inclusive[caller] += cost
                    profile.total += cost
                else:
                    called = Function(there.get("ob", here["ob"]), there["fn"])
                    _take_call(profile, caller, called, call_count, cost)
                    call_count, there = None, {}
    return profile


def _take_call(profile, caller, called, count, cost):
    profile.calls[called] += count
    edge = profile.edges[caller, called]
    edge[0] += count
    edge[1] += cost
    if called != caller and called.name not in PASSES_ON:
        profile.inclusive[caller] += cost


def _short_name(kind, name):
    """Of an object, the file's name; of a function, without the mark of its recursion."""
    if kind == "ob":
        return name.rpartition("/")[2]
    return re.sub(r"'\d+$", "", name).replace("(anonymous namespace)::", "").replace("backhand::", "")
