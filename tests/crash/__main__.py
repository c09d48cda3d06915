"""`python -m tests.crash`: kill Foreman and see that nothing is lost; exits 1 when something was."""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.crash import batch_campaign, fleet
from tests.crash.batch_campaign import BatchTally
from tests.crash.campaign import Tally, campaign
from tests.crash.faults import FAULTS

LOOK = 10.0  # seconds between lines


async def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description="Kill Foreman; see that nothing is lost."
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--batches", action="store_true", help="at each point in the lives of batches and files")
    parser.add_argument("--lanes", type=int, default=4, help="how many Foremen live at a time")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; a new one by default")
    parser.add_argument("--seconds", type=float, default=1800, help="longest it may take")
    parser.add_argument(
        "--nodes", type=int, default=0, help="a fleet of so many on PostgreSQL, with faults of all kinds"
    )
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the nodes' data and logs")
    told = parser.parse_args(argv)
    seed = told.seed if told.seed is not None else random.SystemRandom().randrange(2**32)
    if told.nodes:
        return _fleets(told.nodes, told.kills, told.lanes, seed, told.seconds, told.keep)
    print(f"seed {seed}: {told.kills} kills, {told.lanes} Foremen at a time", flush=True)
    tally, began = BatchTally() if told.batches else Tally(), time.monotonic()

    async def show() -> None:
        while True:
            await trio.sleep(LOOK)
            print(f"{time.monotonic() - began:5.0f} s  {tally}", flush=True)

    with TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show)
            with trio.fail_after(told.seconds):
                if told.batches:
                    rounds = [*batch_campaign.plans(told.kills, random.Random(seed))]
                    await batch_campaign.campaign(Path(folder), tally, rounds, seed=seed, lanes=told.lanes)
                else:
                    await campaign(Path(folder), tally, kills=told.kills, seed=seed, lanes=told.lanes)
            nursery.cancel_scope.cancel()
    print(f"{tally.report()}\n{time.monotonic() - began:.0f} s")
    return 0 if tally.verdict.ok and tally.kills.total() == told.kills else 1


def _fleets(nodes: int, faults: int, lanes: int, seed: int, seconds: float, keep: Path | None) -> int:
    """Let so many faults happen to fleets; return the exit status."""
    print(f"seed {seed}: {faults} faults, {lanes} fleets of {nodes} nodes at a time", flush=True)
    tally, began, over = fleet.Tally(), time.monotonic(), threading.Event()

    def show() -> None:
        while not over.wait(LOOK):
            print(f"{time.monotonic() - began:5.0f} s  {tally}", flush=True)
            if time.monotonic() - began > seconds:
                print(f"{tally.report()}\nnot over within {seconds:.0f} s", flush=True)
                os._exit(1)

    kinds = list(FAULTS) * (faults // len(FAULTS) + 1)
    plan = random.Random(seed).sample(kinds[:faults], faults)
    threading.Thread(target=show, daemon=True).start()
    with nullcontext(keep) if keep else TemporaryDirectory() as folder:
        fleet.campaign(Path(folder), tally, plan, nodes=nodes, seed=seed, lanes=lanes)
    over.set()
    print(f"{tally.report()}\n{time.monotonic() - began:.0f} s")
    return 0 if tally.verdict.ok and tally.faults.total() == faults else 1


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:]))
