"""The kinds of batches."""

from collections.abc import Mapping
from types import MappingProxyType

from foreman.domain.batch_kinds.anthropic import Anthropic
from foreman.domain.batch_kinds.kind import Kind
from foreman.domain.batch_kinds.native import Native
from foreman.domain.batch_kinds.openai import OpenAI

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in (OpenAI(), Anthropic(), Native())})

__all__ = ["KINDS", "Kind"]
