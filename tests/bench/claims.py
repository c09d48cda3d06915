"""Times claims on a prepared database, as the queue actor's thread makes them: decision, writes and sync to disk.

`python -m tests.bench.claims FOLDER [TARGETS]`: several targets claim by turns, each with a job at work. A model is
served by a quarter of them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection
from pathlib import Path

from foreman.domain.errors import Drained
from foreman.domain.job import LoadKey
from foreman.queue.commands import Claim, Finished, Work
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.sites import OnlySite, only_site

CLAIMS = 1000
SLOTS = 4  # of each of several targets
SHARE = 4  # a model is served by one of so many targets


class _Fleetling(OnlySite):
    """One of several targets: it serves a quarter of the models, and has loaded what it claimed last."""

    def __init__(self, number: int) -> None:
        super().__init__(SLOTS)
        self.name = f"t{number}"
        self._number = number
        self._loaded = ""

    def serves(self, key: LoadKey, endpoint: str | None = None) -> bool:
        return int(key.removeprefix("m")) % SHARE == self._number % SHARE

    def is_loaded(self, key: LoadKey) -> bool:
        return key == self._loaded

    def in_memory(self) -> Collection[LoadKey]:
        return (self._loaded,) if self._loaded else ()

    def take(self, key: LoadKey) -> None:
        self._loaded = key


def main(data_dir: Path, targets: int = 1) -> list[float]:
    """Seconds of each claim. Every claimed job goes back to the queue, so that the database stays as it was."""
    store, outlook = SqliteWriter(data_dir / "foreman.db"), only_site()
    sites = [_Fleetling(number) for number in range(targets)]
    if targets > 1:
        outlook.own_sites = {site.name: site for site in sites}
    handlers = CommandHandlers(store, JobRules(), outlook, clock=time.time)
    at_work: dict[str, Finished] = {}
    took = []
    for number in range(CLAIMS):
        site = sites[number % targets]
        name = site.name if targets > 1 else ""
        if ended := at_work.pop(name, None):
            handlers.apply([ended])
        began = time.perf_counter()
        answers, _ = handlers.apply([Claim(target=name, loaded=site.is_loaded)])
        took.append(time.perf_counter() - began)
        work = next((work for _, work in answers), None)
        if not isinstance(work, Work):
            raise TypeError(f"claimed {work!r}")
        site.take(work.job.key)
        at_work[name] = Finished(job_id=work.job.id, fence=work.job.fence, outcome=Drained())
    handlers.apply(list(at_work.values()))
    store.close()
    return took


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))), flush=True)
