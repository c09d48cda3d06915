"""Operator's orders to a target: load a model, unload one."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from foreman.actors.fleet import Member
from foreman.domain.errors import AttemptTimeout, ModelNotFound, WrongTarget
from foreman.domain.job import load_key
from foreman.targets.protocol import Call

GENERATE = "/api/generate"
EMBED = "/api/embed"
SOME = 10  # models named in an error


async def load(member: Member, name: str, *, within: float) -> None:
    """Load the model of this name or alias and return once it can answer.

    Raises:
        WrongTarget: The server loads models by itself.
        ModelNotFound: The target has no such model.
        AttemptTimeout: It took longer than `within` seconds, waiting for the room that running jobs need included.
        TargetError: The target cannot load it.
    """
    _check_kind(member)
    call = _call(member, name)
    with trio.move_on_after(within):
        await member.worker.loads.load(call)
        if not member.is_loaded(call.key):  # a refusal is told by a call only
            await _send(member, call)
        return
    raise _too_long(within, "jobs of other models may still need its room: drain the target, then load")


async def unload(member: Member, name: str, *, within: float) -> None:
    """Unload the model of this name or alias once no job uses it; its waiting jobs load it again.

    Raises:
        WrongTarget: The server loads models by itself.
        ModelNotFound: The target has no such model.
        AttemptTimeout: Jobs have used it for longer than `within` seconds.
        TargetError: The target cannot unload it.
    """
    _check_kind(member)
    call = _call(member, name, GENERATE, keep_alive=0)
    with trio.move_on_after(within):
        await _send(member, call)
        return
    raise _too_long(within, "jobs of the model still run: drain the target, or wait for them")


def _check_kind(member: Member) -> None:
    if member.settings.kind == "openai":
        raise WrongTarget(member.name, "is an OpenAI-compatible server, which loads models by itself")


def _call(member: Member, name: str, endpoint: str | None = None, **fields: Any) -> Call:
    model = member.inventory.find(name)
    if model is None:
        raise ModelNotFound(name, [one.name for one in member.inventory.models[:SOME]], where=f"{member.name} has")
    endpoint = endpoint or (EMBED if model.embedding else GENERATE)
    empty: dict[str, Any] = {"input": []} if endpoint == EMBED else {}
    payload = msgspec.json.encode({"model": model.name, "stream": False} | empty | fields)
    return Call(model=model.name, key=load_key(model.name), endpoint=endpoint, payload=payload)


async def _send(member: Member, call: Call) -> None:
    async with member.target.answer(call) as chunks:
        async for _ in chunks:
            pass


def _too_long(seconds: float, hint: str) -> AttemptTimeout:
    error = AttemptTimeout(seconds)
    error.hint = hint
    return error
