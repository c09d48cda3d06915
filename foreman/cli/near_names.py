"""Names of models that are near to one that does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from foreman.cli.plain import one_line
from foreman.client import Client, ClientError, NotFound
from foreman.client.writing import text

SUGGESTED = 3
LIKE = 0.5  # of 1, which is the same


def near(name: str, known: Sequence[str]) -> list[str]:
    """Return the known names that begin like `name`, and those that are written much like it, at most SUGGESTED."""
    family = name.partition(":")[0].lower()
    begins = [found for found in known if family and found.lower().startswith(family)]
    by_case = {found.lower(): found for found in known}
    bare = {found.partition(":")[0]: found for found in reversed(by_case)}
    close = [by_case[found] for found in get_close_matches(name.lower(), by_case, SUGGESTED, LIKE)]
    close += [by_case[bare[found]] for found in get_close_matches(family, bare, SUGGESTED, LIKE)]
    return list(dict.fromkeys([*begins, *close]))[:SUGGESTED]


def suggest(client: Client, error: NotFound, name: str) -> None:
    """Have the error for an unknown model suggest the nearest names, if there are some."""
    error.message = f"model '{text(name)}' not found"
    try:
        found = near(name, client.models())
    except ClientError:
        return
    error.hint = error.hint or "see 'foreman models'"
    if found:
        *others, last = found
        error.hint = one_line(f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?")
