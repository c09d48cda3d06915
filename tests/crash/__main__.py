"""`python -m tests.crash`: kill Foreman and see that nothing is lost; exits 1 when something was."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.crash.campaign import campaign


async def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description="Kill Foreman; see that nothing is lost."
    )
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; a new one by default")
    parser.add_argument("--seconds", type=float, default=600, help="longest it may take")
    told = parser.parse_args(argv)
    seed = told.seed if told.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}: {told.jobs} jobs, {told.kills} kills", flush=True)
    with TemporaryDirectory() as folder:
        report = await campaign(Path(folder), jobs=told.jobs, kills=told.kills, seed=seed, seconds=told.seconds)
    print(report)
    return 0 if report.verdict.ok else 1


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:]))
