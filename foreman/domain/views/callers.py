"""Views of the caller of a request: its name, its rights, its quotas."""

from __future__ import annotations

from typing import Annotated

import msgspec

from foreman.domain.views.kinds import Count, about, schema

RIGHTS = ("read", "submit", "admin")
SETTINGS = ("token", "admin_token")  # that have tokens


class Quota(msgspec.Struct, frozen=True):
    """A limit, and how much of it is used."""

    limit: Count
    used: Count
    left: Count


class Quotas(msgspec.Struct, frozen=True):
    """The limits of a caller; null is no limit."""

    waiting: Annotated[Quota | None, about("Jobs that wait.")] = None
    running: Annotated[Quota | None, about("Jobs that run at once.")] = None
    tokens_per_hour: Annotated[Quota | None, about("Tokens of prompts and answers in the last hour.")] = None
    max_files: Annotated[Quota | None, about("Files, and inputs of batches, that are kept.")] = None
    rate: Annotated[Quota | None, about("Jobs and calls at once, by the settings rate and rate_burst.")] = None


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of the request, and the Foreman that answers it."""

    name: Annotated[str | None, about("Name of the token; null without one.")] = None
    token: Annotated[
        str | None, schema(enum=[*SETTINGS, None]), about("The setting that has the token; null without one.")
    ] = None
    rights: Annotated[list[Annotated[str, schema(enum=list(RIGHTS))]], about("What the caller may do.")] = []
    sees_all: Annotated[bool, about("False where only the caller's own jobs exist for it.")] = True
    private_jobs: bool = False
    token_required: Annotated[bool, about("The setting token is set.")] = False
    admin_token_set: bool = False
    quotas: Quotas = Quotas()
    version: str = ""
    node: Annotated[str, about("Name of the Foreman that answers.")] = ""

    @property
    def is_admin(self) -> bool:
        """True for a caller that may act for all."""
        return "admin" in self.rights
