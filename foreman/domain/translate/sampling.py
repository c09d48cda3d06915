"""Translation of Ollama's options into fields of OpenAI-compatible servers; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from foreman.domain.errors import TargetRefused
from foreman.domain.job import RELOADING_OPTIONS

# Options with the same name in OpenAI's API, llama.cpp or vLLM.
_NUMBERS = frozenset(
    {
        "temperature",
        "top_p",
        "min_p",
        "typical_p",
        "presence_penalty",
        "frequency_penalty",
        "mirostat_tau",
        "mirostat_eta",
    }
)
_WHOLE_NUMBERS = frozenset({"top_k", "seed", "repeat_last_n", "mirostat"})
# Options of current and older Ollama versions about loading, or that other servers lack.
_OLLAMAS_OWN = frozenset(
    {
        *RELOADING_OPTIONS,
        "num_keep",
        "numa",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "penalize_newline",
        "tfs_z",
        "embedding_only",
        "rope_frequency_base",
        "rope_frequency_scale",
        "num_gqa",
    }
)
_NO_OPTIONS = frozenset(
    {
        "model",
        "messages",
        "prompt",
        "suffix",
        "input",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "response_format",
        "max_tokens",
        "n",
        "logprobs",
        "top_logprobs",
        "chat_template_kwargs",
        "reasoning_effort",
    }
)
_INT64 = 2**63
MOST_GIVEN = 80  # characters of an invalid value in the error


def native_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields for the native options. Raise TargetRefused with status 400 for an invalid option."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if value is None or name in _OLLAMAS_OWN:
            continue
        if name == "num_predict":
            limit = _whole(f"options.{name}", value)
            if limit > 0:  # -1 and -2 mean no limit
                fields["max_tokens"] = limit
        elif name == "repeat_penalty":
            fields["repeat_penalty"] = fields["repetition_penalty"] = _number(
                f"options.{name}", value
            )  # vLLM's name is the second
        elif name in _NUMBERS:
            fields[name] = _number(f"options.{name}", value)
        elif name in _WHOLE_NUMBERS:
            fields[name] = _whole(f"options.{name}", value)
        elif name == "stop" and not _is_text(value):
            raise _wrong("options.stop", value, "text or a list of texts")
        elif name in _NO_OPTIONS:
            raise TargetRefused(400, f"options.{name}: unknown option; {name} belongs beside options")
        else:
            fields[name] = value
    return fields


def whole_or_none(name: str, value: float | None) -> int | None:
    """Return an optional integer field. Raise TargetRefused with status 400 for another type."""
    return None if value is None else _whole(name, value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _number(name: str, value: Any) -> int | float:
    if not _is_number(value):
        raise _wrong(name, value, "a number")
    number: int | float = value
    return number


def _whole(name: str, value: Any) -> int:
    """Return an integer, which may be written as 5.0."""
    if not _is_number(value) or value != int(value) or not -_INT64 <= value < _INT64:
        raise _wrong(name, value, "a whole number")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong(name: str, value: Any, allowed: str) -> TargetRefused:
    given = msgspec.json.encode(value).decode()
    given = given if len(given) <= MOST_GIVEN else given[: MOST_GIVEN - 3] + "..."
    return TargetRefused(400, f"{name}: must be {allowed}; given: {given}")
