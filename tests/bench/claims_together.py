"""Times claims of one node among others, as the queue actor's thread makes them.

`python -m tests.bench.claims_together URL NODE MODELS BEGIN END`: a claim is sent with the end of the job before, as a
slot does, PER_SECOND times a second. Those between the two times (seconds since 1970) count.
"""

from __future__ import annotations

import json
import random
import sys
import time
from contextlib import closing

import structlog

from foreman.domain.errors import Drained
from foreman.domain.job import LoadKey
from foreman.domain.nodes import TargetReport
from foreman.queue.commands import Beat, Claim, Finished, Message, Work
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.outlook import Outlook
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter
from tests.support.sites import OnlySite

PER_SECOND = 10  # claims of a node: eight of them run seven million jobs a day


class _Site(OnlySite):
    """A target that has loaded what it claimed last."""

    def __init__(self, name: str) -> None:
        super().__init__(1)
        self.name = name
        self.loaded = ""

    def is_loaded(self, key: LoadKey) -> bool:
        return key == self.loaded


def main(url: str, node: str, models: int, begin: float, end: float) -> list[float]:
    """Seconds of each claim. Every claimed job goes back to the queue, so that as many wait as before."""
    site, took = _Site(f"t@{node}"), []
    served = frozenset(f"m{number}" for number in range(models))
    report = TargetReport(name=site.name, slots=1, open=True, models_known=True, models=served)
    with closing(PostgresWriter(url, Identity(node, node))) as store:
        outlook = Outlook()
        outlook.own_sites = {site.name: site}
        handlers = CommandHandlers(store, JobRules(), outlook, clock=time.time, node=node)
        batch: list[Message[None]] = [Beat(targets=[report])]
        while (now := time.time()) < end:
            began = time.perf_counter()
            answers, _ = handlers.apply([*batch, Claim(target=site.name, loaded=site.is_loaded)])
            if now >= begin:
                took.append(time.perf_counter() - began)
            work = next(work for _, work in answers if isinstance(work, Work))
            site.loaded = work.job.key
            time.sleep(2 * random.random() / PER_SECOND)
            batch = [Finished(job_id=work.job.id, fence=work.job.fence, outcome=Drained())]
        handlers.apply(batch)
    return took


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    found = main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    print(json.dumps(found), flush=True)
