"""Callers: by whose name a request acts, and which jobs it may see and change."""

from __future__ import annotations

from typing import NamedTuple

from foreman.domain.errors import AdminRequired, JobNotFound


class Caller(NamedTuple):
    """The caller of a request."""

    name: str = ""  # of the token; empty without one
    admin: bool = True  # may act for all: by an admin token, or because none is wanted
    sees_all: bool = True  # False with private jobs, unless by an admin token
    token_of: str = ""  # the setting that has its token; empty without one

    def check_admin(self) -> None:
        """Raise AdminRequired unless the caller may act for all."""
        if not self.admin:
            raise AdminRequired

    def check_owner(self, job_id: str, owner: str | None) -> None:
        """Check that the caller may change a job of `owner`, None for an unknown one.

        Raises:
            JobNotFound: The caller may not see the job.
            AdminRequired: The job is another caller's.
        """
        if owner != self.name:
            if not self.sees_all:
                raise JobNotFound(job_id)
            self.check_admin()


FOREMAN = Caller()  # Foreman itself
