"""Generate foreman/client/sync_client.py from async_client.py."""

from __future__ import annotations

import re
import subprocess
import sys

from scripts.generate import ROOT

SOURCE = ROOT / "foreman/client/async_client.py"
TARGET = "foreman/client/sync_client.py"

HEAD = (
    '"""Client for programs without an event loop. Generated from async_client.py by `make generate`: do not edit."""'
)
SUBSTITUTIONS = [
    (r"AsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"AsyncGenerator", "Generator"),
    (r"Async(Client|Connection)\b", r"\1"),
    (r"Client of one Foreman, on asyncio or Trio\. Tasks may", "Client of one Foreman. Threads may"),
    (r"an `async with` statement", "a `with` statement"),
    (r"\[(\w+) async for \1 in (.+)\]", r"list(\2)"),
    (r"\(await (.+)\)\.(\w+)$", r"\1.\2"),
    (r"async def ", "def "),
    (r"await ", ""),
    (r"aclose", "close"),
    (r"__a(enter|exit)__", r"__\1__"),
]
ASYNCHRONOUS = re.compile(r"\b(async|await|asyncio|trio|tasks?|aclose|aiter|anext)\b|async[A-Z_]", re.IGNORECASE)


def sync_client() -> str:
    """Return the text of sync_client.py. Raise ValueError where no substitution makes the source synchronous."""
    text = SOURCE.read_text(encoding="utf-8").partition("\n")[2]
    for pattern, instead in SUBSTITUTIONS:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    if left := ASYNCHRONOUS.search(text):
        raise ValueError(f"{SOURCE.name}: {left[0]!r} stays in the generated client; add a substitution for it")
    return _formatted(f"{HEAD}\n{text}")


def _formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", TARGET, "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
