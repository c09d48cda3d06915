"""A daemon whose settings file changes while it runs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.api import target_of
from tests.support.foreman import Daemon, until


def written(tables: list[dict[str, Any]], name: str = "targets") -> str:
    """TOML of tables; JSON writes texts, numbers and lists as TOML does."""
    return "".join(
        f"[[{name}]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()) for table in tables
    )


class Configured(Daemon):
    """A daemon with a settings file."""

    def __init__(self, folder: Path, text: str, **settings: object) -> None:
        self.file = folder / "foreman.toml"
        self.file.write_text(text, encoding="utf-8")
        super().__init__(folder / "data", config=self.file, retry_backoff=0.1, **settings)

    def write(self, text: str) -> None:
        """Replace the file at once: a reload that is still under way must not read half of it."""
        new = self.file.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.file)

    def reload(self, text: str) -> dict[str, Any]:
        """Write the file, ask for a reload, and wait for its log line: it must not be taken for a later one's."""
        before = len(self.said("settings are reloaded"))
        found = self.reload_silently(text)
        until(lambda: len(self.said("settings are reloaded")) > before)
        return found

    def reload_silently(self, text: str) -> dict[str, Any]:
        """Write the file and ask for a reload to a level at which it is not logged."""
        self.write(text)
        answer = self.http.post("/reload")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def hang_up(self, text: str, event: str) -> Mapping[str, Any]:
        """Write the file, send SIGHUP, and wait for the log line."""
        before = len(self.said(event))
        self.write(text)
        os.kill(self.pid, signal.SIGHUP)
        return until(lambda: self.said(event)[before:])[0]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.logs if line["event"].startswith(event)]

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/jobs/{job_id}").json()
        return found

    def ran(self, job_id: str, target: str) -> bool:
        until(lambda: self.job(job_id)["state"] in ("done", "failed"))
        job = self.job(job_id)
        return (job["state"], target_of(job)) == ("done", target)
