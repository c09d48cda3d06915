"""Callers who follow the output of jobs, at any node, over HTTP."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import closing, suppress
from typing import Any

from foreman.domain.errors import ForemanError, TargetError
from foreman.domain.job import RUNNING, TERMINAL, State
from foreman.targets.http.pool import Client
from tests.simulation.witness import Book

MOST = 40  # at once
DELETED = "the job was deleted"  # before the node heard how it ended


class Followers:
    """What they are told must be the answer, whole, or why there is none."""

    def __init__(self, dice: random.Random, book: Book) -> None:
        self._dice = dice
        self._book = book
        self.under_way: Counter[str] = Counter()  # by what is followed where

    def some(self) -> str:
        """Return a job that somebody may want to follow."""
        jobs = self._book.jobs
        running = [job_id for job_id, seen in jobs.items() if seen.state in RUNNING]
        waiting = [job_id for job_id, seen in jobs.items() if seen.state is State.QUEUED]
        dice = self._dice
        return dice.choice(running if running and dice.random() < 0.6 else waiting or list(jobs) or ["nobody"])

    async def follow(self, job_id: str, node: str) -> None:
        """Follow a job at a node until the stream ends, or the node breaks off."""
        if self.under_way.total() >= MOST:
            return
        what, tally = f"{job_id} at {node}", self._book.tally
        self.under_way[what] += 1
        try:
            with closing(Client(f"http://{node}", name=node)) as client:
                async with client.request("GET", f"/jobs/{job_id}/stream") as response:
                    if response.status != 200:
                        tally[f"stream {response.status}"] += 1
                        return
                    told = _Told()
                    while data := await response.receive():
                        told.feed(data)
        except TargetError as error:
            tally[f"stream {error.code}"] += 1
        except ForemanError as error:
            self._book.complain(f"the stream of {what}: {error}")
        else:
            self._judge(what, job_id, told)
        finally:
            self.under_way[what] -= 1

    def _judge(self, what: str, job_id: str, told: _Told) -> None:
        book = self._book
        seen = book.jobs.get(job_id) or book.gone.get(job_id)
        states = [event.state for event in book.history if event.job_id == job_id]
        book.tally[f"stream {told.state or 'whole'}{', several chunks' if told.chunks > 1 else ''}"] += 1
        if seen is None:
            book.complain(f"the stream of {what} is of no job")
        elif told.state is not None:
            deleted = job_id in book.gone and told.error == DELETED
            if told.state not in states and not deleted:
                book.complain(f"the stream of {what} says {told.state}, it went {states}")
        elif State.DONE not in states:
            book.complain(f"the stream of {what} ended as if it was done, it went {states}")
        elif told.text != book.said[job_id]:
            book.complain(f"the stream of {what} said {told.text!r}, its answer is {book.said[job_id]!r}")


class _Told:
    """What a stream has said."""

    def __init__(self) -> None:
        self._rest = b""
        self.text = ""
        self.chunks = 0
        self.state: str | None = None  # other than done
        self.error: str | None = None

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with suppress(ValueError):
                self._take(json.loads(line))

    def _take(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        if "foreman" in said:
            status = said["foreman"]
            if status.get("attempt") is not None:
                self.text, self.chunks = "", 0
            if status.get("state") in {str(state) for state in TERMINAL}:
                self.state, self.error = status["state"], said.get("error")
        elif "message" in said:
            self.text += said["message"]["content"]
            self.chunks += 1
