"""`python -m tests.e2e.soak`: mixed load for an hour; exits 1 when memory, descriptors or threads grew."""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.bench.daemon import child, serving
from tests.e2e.soak.load import MODELS, Load
from tests.e2e.soak.sample import Sample, judged, sampled
from tests.support.receiver import a_receiver

FEWEST = 4  # samples
SETTINGS: dict[str, object] = {
    "slots": 4,
    "job_ttl": 60,  # seconds: pruning keeps up with what comes, so that the database stays as large as it is
    "feed_history": 1000,
    "webhook_retries": 1,
    "webhook_backoff": 1,
}


async def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.soak", description="Mixed load for a long time.")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--callers", type=int, default=8, help="callers at a time")
    parser.add_argument("--pace", type=float, default=20.0, help="requests a second in all, at most")
    parser.add_argument("--seed", type=int, default=None, help="of what is asked; a new one by default")
    told = parser.parse_args(argv)
    if told.samples < FEWEST:
        parser.error(f"--samples must be {FEWEST} or more: a quarter of them is compared with another")
    seed = told.seed if told.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}: {told.seconds:g} s, {told.callers} callers, {told.pace:g} requests a second", flush=True)
    samples: list[Sample] = []
    with TemporaryDirectory() as folder, a_receiver() as receiver:
        receiver.got = Forgetful()
        async with (
            child("tests.support.target", "--models", ",".join(MODELS)) as target,
            serving(Path(folder) / "data", ollama_url=f"http://127.0.0.1:{target['port']}", **SETTINGS) as daemon,
        ):
            load = Load(daemon.port, receiver.url, random.Random(seed), callers=told.callers, pace=told.pace)
            began = time.monotonic()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                for _ in range(told.samples):
                    await trio.sleep(told.seconds / told.samples)
                    samples.append(sampled(daemon.process.pid, daemon.data_dir, time.monotonic() - began))
                    print(f"{samples[-1].line()}   {load.tally()}", flush=True)
                nursery.cancel_scope.cancel()
    verdict = judged(samples)
    print(verdict.line())
    return 0 if verdict.ok else 1


class Forgetful(list):  # type: ignore[type-arg]
    """A list that keeps nothing: what a receiver got in an hour is not looked at."""

    def append(self, _: object) -> None:
        return


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:]))
