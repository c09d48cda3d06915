"""Serve on a port by hand, until Ctrl-C: `python -m tests.support.odd PORT`."""

from __future__ import annotations

import signal
import sys

from tests.support.odd.server import OddServer

if __name__ == "__main__":
    with OddServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as odd:
        print(odd.url, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
