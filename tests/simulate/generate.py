"""Traces made from published parameters, the same one for a seed.

ServeGen (NSDI'26, `m-small`): the shares of the callers and the gaps between their calls. Zipf's law for the templates
of a caller; lengths of prompts and answers as in Azure's and Mooncake's traces.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import count
from typing import NamedTuple

from foreman.domain.job import Priority
from tests.simulate.trace import Request, Trace, popularity

BLOCK = 32  # tokens
SHARES = (0.30, 0.17, 0.12, 0.10, 0.08, 0.05, 0.043, 0.037, 0.03, 0.027, 0.023, 0.02)  # of the calls, by caller
SHAPE, BURSTY = 0.77, 0.15  # of the gamma distribution of gaps
BURSTS = (2, 7)  # the callers with bursts, counted from 0
TEMPLATES = 8  # of a caller, at most
PEOPLE = "people"
QUESTION, REPLY = (6.63, 0.99), (5.02, 0.86)  # of people: tokens as in Azure's conversations


class _Template(NamedTuple):
    blocks: tuple[int, ...]
    answer: float  # tokens, on average


def generate(seed: int, *, jobs: int, callers: int) -> Trace:
    """Return a trace of `jobs` calls in about as many seconds, by callers whose prompts begin with templates."""
    dice, block = random.Random(seed), count()
    shares = [SHARES[number % len(SHARES)] for number in range(callers)]
    requests: list[Request] = []
    for number, share in enumerate(shares):
        templates = [
            _Template(
                tuple(next(block) for _ in range(math.ceil(dice.lognormvariate(7.3, 0.5) / BLOCK))),
                dice.lognormvariate(4.5, 0.9),
            )
            for _ in range(dice.randint(1, TEMPLATES))
        ]
        weights, shape, at = popularity(len(templates)), BURSTY if number in BURSTS else SHAPE, 0.0
        for _ in range(max(1, round(jobs * share / sum(shares)))):
            at += dice.gammavariate(shape, sum(shares) / share / shape)
            template = dice.choices(templates, weights)[0]
            own = max(1, round(dice.lognormvariate(4.6, 0.8)))
            requests.append(
                Request(
                    at=at,
                    prompt=len(template.blocks) * BLOCK + own,
                    answer=max(1, round(dice.expovariate(1 / template.answer))),
                    blocks=(*template.blocks, *(next(block) for _ in range(math.ceil(own / BLOCK)))),
                    caller=f"caller {number + 1}",
                )
            )
    return Trace(sorted(requests, key=_at), BLOCK)


def with_people(trace: Trace, seed: int, *, every: float, until: float) -> Trace:
    """Return the trace with all its calls in class `low`, and calls of class `high`, one in `every` seconds.

    The latter come until a time, each with a prompt of its own for any of the trace's models.
    """
    dice = random.Random(seed)
    block = count(1 + max(max(one.blocks) for one in trace.requests))
    models, calls, at = [one.model for one in trace.requests], [], 0.0
    while (at := at + dice.expovariate(1 / every)) < until:
        prompt = max(1, round(dice.lognormvariate(*QUESTION)))
        calls.append(
            Request(
                at=at,
                prompt=prompt,
                answer=max(1, round(dice.lognormvariate(*REPLY))),
                blocks=tuple(next(block) for _ in range(math.ceil(prompt / trace.block))),
                caller=PEOPLE,
                priority=Priority.HIGH,
                model=dice.choice(models),
            )
        )
    others = (replace(one, priority=Priority.LOW) for one in trace.requests)
    return replace(trace, requests=sorted((*others, *calls), key=_at))


def _at(request: Request) -> float:
    return request.at
