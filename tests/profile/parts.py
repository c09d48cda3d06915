"""The parts of the program that a sample may belong to, by the modules on its stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# The first of these in a path decides, from the innermost frame outwards. What is in none of them (the standard
# library, msgspec, Trio's sockets) belongs to its caller.
PREFIXES = (
    ("foreman/http/server/", "HTTP: connections, heads, answers"),
    ("/hypercorn/", "HTTP: connections, heads, answers"),
    ("/httptools/", "HTTP: connections, heads, answers"),
    ("/h11/", "HTTP: connections, heads, answers"),
    ("foreman/http/auth.py", "gate: token, origin, limits"),
    ("foreman/http/cors.py", "gate: token, origin, limits"),
    ("foreman/http/rate_limit.py", "gate: token, origin, limits"),
    ("foreman/http/visibility.py", "gate: token, origin, limits"),
    ("foreman/http/", "routes: body, answer"),
    ("/quart/", "Quart"),
    ("/quart_trio/", "Quart"),
    ("/werkzeug/", "Quart"),
    ("/flask/", "Quart"),
    ("foreman/domain/scheduling/", "queue: commands, choice"),
    ("foreman/queue/", "queue: commands, choice"),
    ("Database.transaction ", "store: commit, with its sync"),
    ("foreman/store/", "store: SQL"),
    ("foreman/targets/http/", "target: HTTP client"),
    ("foreman/targets/", "target: requests, chunks"),
    ("foreman/domain/answers/", "answer: chunks, joined text"),
    ("foreman/domain/translate/", "answer: chunks, joined text"),
    ("foreman/domain/", "intake: body, rules, views"),
    ("foreman/actors/", "actors: worker, output, feed"),
    ("foreman/logs.py", "log, watchdog"),
    ("foreman/watchdog.py", "log, watchdog"),
)
SCHEDULER = "Trio: scheduler, wait for sockets"
OTHER = "other"
_LOOP = ("unrolled_run ", "EpollIOManager.get_events ")  # nothing further out says anything about one task
# Innermost frames of threads that only wait, whom py-spy now and then takes for busy.
_IDLE = ("Condition.wait ", "LineWriter._work ", "Event.wait ", "WorkerThread._work ", "WorkerThread._handle_job ")


def part_of(stack: str) -> str:
    """Return the part of one stack, as py-spy writes it: `function (file:line);…`, the outermost frame first."""
    for frame in reversed(stack.split(";")):
        for prefix, part in PREFIXES:
            if prefix in frame:
                return part
        if frame.startswith(_LOOP):
            return SCHEDULER
    return OTHER


def shares(lines: Iterable[str]) -> dict[str, float]:
    """Return the share of each part in samples of py-spy's raw format: `stack count`; the largest first."""
    counted: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if not stack.rpartition(";")[2].startswith(_IDLE):
            counted[part_of(stack)] += int(count)
    total = counted.total()
    return {part: count / total for part, count in counted.most_common()} if total else {}
