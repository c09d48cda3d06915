"""Threads that ask a Foreman and tell what they hear; they outlast its restarts."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from foreman.cli.watch.state import Away, Snapshot, Words
from foreman.client import Chunk, Client, ClientError, Event, Refused, StartsOver, Unauthorized

LOOKS = 1.0  # seconds between looks at the queue while nothing happens
LEAST = 0.25  # seconds between looks however much happens
PAUSE = 1.0  # seconds after a fault
SHOWN = 60  # waiting jobs; no terminal has room for more
FOLLOWED = 8  # jobs whose text is read at once

# What came after the last event told is removed, or it is another database: the feed goes on from now.
UNKNOWN_PLACE = {"cursor_gone", "query_invalid"}

News: TypeAlias = Snapshot | Event | Words | Away | Unauthorized


class Poller:
    """Tells all news by `tell`, from threads of its own, which end with the process."""

    def __init__(self, client: Client, tell: Callable[[News], None]) -> None:
        self._client = client
        self._tell = tell
        self._stir = threading.Event()  # something happened: look at the queue
        self._followed: set[str] = set()
        self._newest = 0  # `seq` of the events told

    def snapshot(self) -> Snapshot:
        """How it stands now. Raises a ClientError."""
        since, queue = self._newest, self._client.queue()
        return Snapshot(queue, self._client.waiting(limit=SHOWN), self._client.health(), since)

    def start(self) -> None:
        for work in (self._read_feed, self._look):
            threading.Thread(target=work, daemon=True).start()

    def follow(self, job_ids: Iterable[str]) -> None:
        """Read the text of these jobs too, if they are not read yet."""
        for job_id in job_ids:
            if job_id not in self._followed and len(self._followed) < FOLLOWED:
                self._followed.add(job_id)
                threading.Thread(target=self._read_text, args=(job_id,), daemon=True).start()

    def _read_feed(self) -> None:
        after: int | None = None
        while True:
            try:
                for event in self._client.feed(after=after, retry_for=math.inf):
                    self._tell(event)
                    after = self._newest = event.seq
                    self._stir.set()
            except Unauthorized as error:
                self._tell(error)
                return
            except ClientError as error:
                if isinstance(error, Refused) and error.code in UNKNOWN_PLACE:
                    after = None
                self._tell(Away(error.message))
            time.sleep(PAUSE)

    def _look(self) -> None:
        while True:
            try:
                self._tell(self.snapshot())
            except Unauthorized as error:
                self._tell(error)
                return
            except ClientError as error:
                self._tell(Away(error.message))
            time.sleep(LEAST)
            self._stir.wait(LOOKS - LEAST)
            self._stir.clear()

    def _read_text(self, job_id: str) -> None:
        self._tell(Words(job_id, "", anew=True))
        try:
            for piece in self._client.stream(job_id):
                match piece:
                    case Chunk():
                        self._tell(Words(job_id, piece.text or piece.thinking))
                    case StartsOver():
                        self._tell(Words(job_id, "", anew=True))
        except (ClientError, RuntimeError):  # the queue says how it stands with it; or the client was closed
            pass
        finally:
            self._followed.discard(job_id)
