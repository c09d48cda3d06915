"""Times claims on a prepared database, as the queue actor's thread makes them: decision, writes and sync to disk."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from foreman.domain.errors import Drained
from foreman.queue.commands import Claim, Finished, Work
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.ledger import Rules
from foreman.store.sqlite.writer import SqliteWriter

CLAIMS = 1000


def main(data_dir: Path) -> list[float]:
    """Seconds of each claim. Every claimed job goes back to the queue, so that the database stays as it was."""
    store = SqliteWriter(data_dir / "foreman.db")
    handlers = CommandHandlers(store, Rules(), clock=time.time)
    loaded = ""
    took = []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        [(_, work)], _ = handlers.apply([Claim(loaded=loaded.__eq__)])
        took.append(time.perf_counter() - began)
        if not isinstance(work, Work):
            raise TypeError(f"claimed {work!r}")
        loaded = work.job.key
        handlers.apply([Finished(job_id=work.job.id, fence=work.job.fence, outcome=Drained())])
    store.close()
    return took


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))), flush=True)
