"""`python -m tests.crash`: kill Foreman and see that nothing is lost; exits 1 when something was."""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.crash import fleet
from tests.crash.campaign import Tally, campaign
from tests.support.postgres import Servers

LOOK = 10.0  # seconds between lines


async def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description="Kill Foreman; see that nothing is lost."
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=4, help="how many Foremen live at a time")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; a new one by default")
    parser.add_argument("--seconds", type=float, default=1800, help="longest it may take")
    parser.add_argument(
        "--nodes", type=int, default=0, help="a fleet of so many on PostgreSQL, with faults of all kinds"
    )
    told = parser.parse_args(argv)
    seed = told.seed if told.seed is not None else random.SystemRandom().randrange(2**32)
    if told.nodes:
        return await trio.to_thread.run_sync(_fleet, told.nodes, told.kills, seed, told.seconds)
    print(f"seed {seed}: {told.kills} kills, {told.lanes} Foremen at a time", flush=True)
    tally, began = Tally(), time.monotonic()

    async def show() -> None:
        while True:
            await trio.sleep(LOOK)
            print(f"{time.monotonic() - began:5.0f} s  {tally}", flush=True)

    with TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show)
            with trio.fail_after(told.seconds):
                await campaign(Path(folder), tally, kills=told.kills, seed=seed, lanes=told.lanes)
            nursery.cancel_scope.cancel()
    print(f"{tally.report()}\n{time.monotonic() - began:.0f} s")
    return 0 if tally.verdict.ok and tally.kills.total() == told.kills else 1


def _fleet(nodes: int, faults: int, seed: int, seconds: float) -> int:
    print(f"seed {seed}: {faults} faults, {nodes} nodes", flush=True)
    chance, tally, servers, began = random.Random(seed), fleet.Tally(), Servers(), time.monotonic()
    plan = [chance.choice(fleet.FAULTS) for _ in range(faults)]

    def look() -> None:
        print(f"{time.monotonic() - began:5.0f} s  {tally}", flush=True)
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not over within {seconds:.0f} s")

    try:
        with TemporaryDirectory() as folder:
            fleet.campaign(Path(folder), servers.get("installed"), tally, plan, nodes=nodes, seed=seed, look=look)
    finally:
        servers.remove()
    print(f"{tally}\n{time.monotonic() - began:.0f} s")
    return 0 if tally.verdict.ok else 1


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:]))
