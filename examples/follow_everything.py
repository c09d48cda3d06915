"""Print every change of every job, from now on; reconnects by itself after a break.

    python examples/follow_everything.py [COUNT]

With COUNT it ends after so many changes.
"""

from __future__ import annotations

import sys
from itertools import islice

from foreman import Client


def main(count: int | None) -> None:
    with Client() as client:
        for event in islice(client.feed(), count):
            print(f"{event.timestamp}  {event.job_id}  {event.previous_state or 'new'} → {event.state}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
