"""`python -m tests.simulate [trace]`: a trace through Foreman and in the order of arrival, as a table."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import structlog
from pydantic import ValidationError

from tests.simulate.figures import figures
from tests.simulate.generate import SHARES, generate, with_people
from tests.simulate.picture import picture
from tests.simulate.play import Record, Setup, Stuck, at_load, by_arrival, by_foreman
from tests.simulate.server import Speed
from tests.simulate.table import fields, heading, table
from tests.simulate.trace import TraceError, read

ARRIVAL, FOREMAN = "arrival order", "foreman"
JOBS, LOAD = 3000, 1.2  # of a trace that is made
Policies: TypeAlias = Mapping[str, Mapping[str, Any] | None]  # settings by name; None: no Foreman
SETTINGS_EXAMPLE = "starvation_limit=60 share=0.2"


def main(argv: list[str]) -> int:
    parser = _parser()
    asked = parser.parse_args(argv)
    try:
        setup = _setup(asked)
        policies: Policies = {ARRIVAL: None, FOREMAN: {}} | {words: _given(words) for words in asked.also}
    except (TraceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if not asked.json:
        print(f"{heading(setup)}\n", flush=True)
    records: dict[str, Record] = {}
    for name, given in policies.items():
        try:
            records[name] = by_arrival(setup) if given is None else by_foreman(setup, given)
        except ValidationError as error:
            print(f"--also {name!r}: {_in_one_line(error)}", file=sys.stderr)
            return 2
        except Stuck as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    found = {name: figures(setup.trace, record) for name, record in records.items()}
    print(json.dumps(fields(setup, found)) if asked.json else table(setup, found))
    if asked.svg:
        asked.svg.write_text(picture(setup, records))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulate",
        description="Replay a trace in virtual time: through Foreman against modelled servers, and in the order of "
        "arrival. The same options give the same table.",
    )
    add = parser.add_argument
    add(
        "trace",
        nargs="?",
        type=Path,
        help="a file of JSON lines in Mooncake's form (timestamp in ms, input_length, output_length, hash_ids; also "
        "caller, priority, model), or in Azure's (TIMESTAMP,ContextTokens,GeneratedTokens); one is made by default",
    )
    add("--jobs", type=_whole, help=f"jobs of the trace that is made ({JOBS}), or the first ones of the file")
    add("--callers", type=_whole, default=len(SHARES), help="callers of the trace that is made (%(default)s)")
    add(
        "--people",
        type=_positive,
        metavar="SECONDS",
        help="add calls of class high, one in so many seconds; the others are then of class low",
    )
    add("--models", type=_whole, default=1, help="models that the calls are spread over (%(default)s)")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--load",
        type=_positive,
        help="arrivals for this part of what the servers can do without a cache, such as 0.9; "
        f"a file keeps its own times by default, the trace that is made has {LOAD:g}",
    )
    when.add_argument("--at-once", action="store_true", help="all jobs arrive together")
    add("--servers", type=_whole, default=1, help="number of servers (%(default)s)")
    add("--slots", type=_whole, default=1, help="of each server (%(default)s)")
    add("--kept", type=_whole, help="latest prompts that a server's cache holds (as many as slots)")
    add("--pp", type=_positive, default=4000.0, help="tokens of prompts per second of a server (%(default)g)")
    add(
        "--tg",
        type=_curve,
        default=((1, 60.0),),
        metavar="NUMBER | COUNT:NUMBER,…",
        help="tokens of answers per second of a server (60), or by how many answers there are at once, such as "
        "1:89,4:113,8:151",
    )
    add("--load-seconds", type=_seconds, default=15.0, help="to load a model (%(default)g)")
    add("--loaded", type=_whole, default=1, help="models that a server has loaded at once (%(default)s)")
    add("--batch", type=_whole, default=512, help="tokens of a prompt that a cancel has to wait for (%(default)s)")
    add("--bytes-per-token", type=_positive, default=4.0, help="length of the prompts' text (%(default)g)")
    add("--seed", type=int, default=1, help="of all that is chance (%(default)s)")
    add(
        "--also",
        action="append",
        default=[],
        metavar="SETTINGS",
        help=f'one more policy: Foreman with other settings, such as "{SETTINGS_EXAMPLE}"; may be repeated',
    )
    add("--json", action="store_true", help="one JSON object instead of the table")
    add("--svg", type=Path, metavar="FILE", help="write a picture of it, too")
    return parser


def _setup(asked: argparse.Namespace) -> Setup:
    if asked.trace is None:
        trace = generate(asked.seed, jobs=asked.jobs or JOBS, callers=asked.callers)
    else:
        trace = read(asked.trace, asked.jobs)
    speed = Speed(
        slots=asked.slots,
        prompt=asked.pp,
        answer=asked.tg,
        load=asked.load_seconds,
        loaded=asked.loaded,
        kept=asked.kept,
        batch=asked.batch,
    )
    trace = trace.over(asked.models, asked.seed)
    load = asked.load or (LOAD if asked.trace is None else None)
    if asked.at_once:
        trace = trace.timed(0)
    elif load is not None:
        trace = at_load(trace, speed, asked.servers, load)
    setup = Setup(trace, speed, asked.servers, asked.seed, asked.bytes_per_token)
    if asked.people is None:
        return setup
    until = max(trace.requests[-1].at, setup.cold)
    return replace(setup, trace=with_people(trace, asked.seed, every=asked.people, until=until))


def _given(words: str) -> Mapping[str, Any]:
    """Return settings written as NAME=VALUE, with spaces between them; a value is JSON or a word."""
    given: dict[str, Any] = {}
    for word in words.split():
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"--also {words!r}: must be settings such as {SETTINGS_EXAMPLE!r}, not {word!r}")
        try:
            given[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            given[name] = value
    return given


def _in_one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _whole(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return number


def _seconds(text: str) -> float:
    return 0.0 if text == "0" else _positive(text)


def _curve(text: str) -> tuple[tuple[int, float], ...]:
    pairs = [pair.split(":") if ":" in pair else ["1", pair] for pair in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise argparse.ArgumentTypeError(f"must be numbers such as 60, or pairs such as 1:89,4:113, not {text!r}")
    points = tuple((_whole(count), _positive(rate)) for count, rate in pairs)
    if sorted({count for count, _ in points}) != [count for count, _ in points]:
        raise argparse.ArgumentTypeError(f"must be in the order of the counts, not {text!r}")
    return points


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.exit(main(sys.argv[1:]))
