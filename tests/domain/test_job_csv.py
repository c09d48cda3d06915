"""Jobs as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from msgspec.structs import replace

from foreman.domain import job_csv
from foreman.domain.job import Draft, Job, JobUsage, State, queued

JOB = queued(Draft(id="1", model="m", key="m", endpoint="/api/chat", payload=b"{}", owner="ann"), 1.5)


def read(*jobs: Job) -> list[dict[str, str]]:
    data = job_csv.heads() + job_csv.rows(jobs)
    assert data.count(b"\r\n") == len(jobs) + 1
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_a_job_is_a_row_and_what_is_not_known_is_empty() -> None:
    [row] = read(JOB)
    assert {name: value for name, value in row.items() if value} == {
        "job_id": "1",
        "state": "queued",
        "model": "m",
        "endpoint": "/api/chat",
        "priority": "normal",
        "created_at": "1970-01-01T00:00:01.500Z",
        "attempt": "0",
        "max_attempts": "3",
        "owner": "ann",
        "caller": "ann",
    }
    done = replace(JOB, state=State.DONE, completed_at=3.0, usage=JobUsage(7, 0, 9, 0.25, 31.5), metadata={"a": "b,c"})
    [row] = read(done)
    names = ("prompt_tokens", "cached_tokens", "answer_tokens", "first_token_seconds", "tokens_per_second")
    assert [row[name] for name in names] == ["7", "0", "9", "0.25", "31.5"]
    assert (row["metadata"], row["completed_at"]) == ('{"a":"b,c"}', "1970-01-01T00:00:03.000Z")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\n", "\r"])
def test_no_cell_is_a_formula(sign: str) -> None:
    text = f"{sign}HYPERLINK(1)"
    [row] = read(replace(JOB, model=text, custom_id=text, error=text, excerpt=f'a"{sign}', caller=text))
    assert row["model"] == row["custom_id"] == row["error"] == row["caller"] == f"'{text}"
    assert row["prompt_excerpt"] == f'a"{sign}'


@pytest.mark.parametrize(
    ("text", "shown"), [("x;=1+1", "x;'=1+1"), ("; @a", "; '@a"), ("x\t=1", "x\t'=1"), ("a;b", "a;b")]
)
def test_no_cell_is_a_formula_where_another_sign_separates_them(text: str, shown: str) -> None:
    [row] = read(replace(JOB, error=text))
    assert row["error"] == shown


def test_a_line_ends_only_where_a_job_does() -> None:
    [row, other] = read(replace(JOB, error='one\r\ntwo "three",\nfour'), JOB)
    assert (row["error"], other["job_id"]) == ('one\ntwo "three",\nfour', "1")
