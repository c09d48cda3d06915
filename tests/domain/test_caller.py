"""Who may see and change whose jobs."""

from __future__ import annotations

import pytest

from foreman.domain.caller import FOREMAN, Caller
from foreman.domain.errors import AdminRequired, ForemanError, JobNotFound

ADMIN = Caller("boss")
AMONG_OTHERS = Caller("alice", admin=False)
PRIVATE = Caller("alice", admin=False, sees_all=False)


@pytest.mark.parametrize("caller", [FOREMAN, ADMIN, AMONG_OTHERS, PRIVATE])
def test_a_caller_may_change_its_own_jobs(caller: Caller) -> None:
    caller.check_owner("1", caller.name)


@pytest.mark.parametrize("owner", ["bob", "", None])
@pytest.mark.parametrize(
    ("caller", "error"), [(FOREMAN, None), (ADMIN, None), (AMONG_OTHERS, AdminRequired), (PRIVATE, JobNotFound)]
)
def test_others_jobs_are_for_admins_and_private_ones_are_hidden(
    caller: Caller, owner: str | None, error: type[ForemanError] | None
) -> None:
    if error is None:
        caller.check_owner("1", owner or "nobody")
        caller.check_owner("1", None)
        caller.check_admin()
        return
    with pytest.raises(error):
        caller.check_owner("1", owner)
    with pytest.raises(AdminRequired):
        caller.check_admin()
