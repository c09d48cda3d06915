"""Check keyword arguments: a client refuses unknown names before it sends anything; no I/O."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, TypeVar

from foreman.client.errors import ArgumentInvalid
from foreman.client.filters import Filters
from foreman.client.payload import Fields

C = TypeVar("C")

FIELDS = "Unpack[Fields]"  # as signatures say it
NAMES = {FIELDS: Fields.__annotations__, "Unpack[Filters]": Filters.__annotations__}
ELSEWHERE = "options of the model go in options={…}, any other field of the request in extra={…}"


def checks_arguments(kind: type[C]) -> type[C]:
    """Make the constructor and every public method of a class refuse unknown names and suggest the nearest one."""
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and (name == "__init__" or not name.startswith("_")):
            setattr(kind, name, _checked(method, kind.__name__ if name == "__init__" else name))
    return kind


def _checked(method: Callable[..., Any], called: str) -> Callable[..., Any]:
    parameters = inspect.signature(method).parameters
    further = [
        str(parameter.annotation) for parameter in parameters.values() if parameter.kind is parameter.VAR_KEYWORD
    ]
    takes_job = FIELDS in further
    known = {*list(parameters)[1:], *(name for kind in further for name in NAMES[kind])}

    def check(given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in known:
                raise ArgumentInvalid(f"{called}() takes no argument {name!r}", _hint(name, known, takes_job=takes_job))

    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def checked_coroutine(*args: Any, **given: Any) -> Any:
            check(given)
            return await method(*args, **given)

        return checked_coroutine

    @wraps(method)
    def checked(*args: Any, **given: Any) -> Any:
        check(given)
        return method(*args, **given)

    return checked


def _hint(name: str, known: Collection[str], *, takes_job: bool) -> str | None:
    from difflib import get_close_matches  # imported here: it would slow down every start

    near = get_close_matches(name, known, n=1)
    said = [f"did you mean {near[0]!r}?"] if near else []
    return " Else ".join([*said, ELSEWHERE] if takes_job else said) or None
