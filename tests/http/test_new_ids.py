"""The ids of new jobs."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from foreman.domain.job import JOB_ID
from foreman.http.new_ids import DRAWN, new_job_id

MANY = 20 * DRAWN


def test_each_id_is_greater_than_the_one_before() -> None:
    made = [new_job_id() for _ in range(MANY)]
    assert made == sorted(set(made))
    assert all(re.fullmatch(JOB_ID, one) for one in made)


def test_no_two_threads_get_the_same_id() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = [one for some in threads.map(lambda _: [new_job_id() for _ in range(MANY)], range(4)) for one in some]
    assert len(set(made)) == 4 * MANY


def test_ids_of_different_moments_have_nothing_in_common_but_the_time() -> None:
    parts: dict[str, str] = {}
    while len(parts) < 2 * DRAWN:
        made = new_job_id()
        parts.setdefault(made[:10], made[10:])
    assert len({random[:12] for random in parts.values()}) == len(parts)
