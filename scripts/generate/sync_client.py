"""Generate the client without an event loop from the asynchronous one: five files."""

from __future__ import annotations

import re
import subprocess
import sys

from scripts.generate import ROOT

CLIENT, BATCHES = "foreman/client/sync_client.py", "foreman/client/sync_batches.py"
SELECTIONS, SERVICE = "foreman/client/sync_selections.py", "foreman/client/sync_service.py"
MANY = "foreman/client/sync_many.py"

_HEADS = {
    CLIENT: "Client for programs without an event loop. Generated from async_client.py",
    BATCHES: "The calls of Client about batches. Generated from async_batches.py",
    SELECTIONS: "The calls of Client on all selected jobs. Generated from async_selections.py",
    SERVICE: "The calls of Client about the service. Generated from async_service.py",
    MANY: "The calls of Client on many jobs. Generated from async_many.py",
}
SUBSTITUTIONS = [
    (r"AsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"AsyncGenerator", "Generator"),
    (r"Async(Client|Connection|Batches|Selections|Service|Many)\b", r"\1"),
    (r"async_(batches|selections|service|many)", r"sync_\1"),
    (r"Batches of one Foreman, on asyncio or Trio\.", "Batches of one Foreman."),
    (r"Selected jobs of one Foreman, on asyncio or Trio\.", "Selected jobs of one Foreman."),
    (r"Many jobs of one Foreman, on asyncio or Trio\.", "Many jobs of one Foreman."),
    (r"The service of one Foreman, on asyncio or Trio\.", "The service of one Foreman."),
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
    return _generated(CLIENT)


def sync_batches() -> str:
    """Return the text of sync_batches.py. Raise ValueError as `sync_client` does."""
    return _generated(BATCHES)


def sync_selections() -> str:
    """Return the text of sync_selections.py. Raise ValueError as `sync_client` does."""
    return _generated(SELECTIONS)


def sync_service() -> str:
    """Return the text of sync_service.py. Raise ValueError as `sync_client` does."""
    return _generated(SERVICE)


def sync_many() -> str:
    """Return the text of sync_many.py. Raise ValueError as `sync_client` does."""
    return _generated(MANY)


def _generated(target: str) -> str:
    source = ROOT / target.replace("sync_", "async_")
    text = source.read_text(encoding="utf-8").partition("\n")[2]
    for pattern, instead in SUBSTITUTIONS:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    if left := ASYNCHRONOUS.search(text):
        raise ValueError(f"{source.name}: {left[0]!r} stays in the generated client; add a substitution for it")
    return _formatted(target, f'"""{_HEADS[target]} by `make generate`: do not edit."""\n{text}')


def _formatted(target: str, text: str) -> str:
    for verb in (["check", "--select", "I", "--fix-only", "--quiet"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *verb, "--stdin-filename", target, "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text
