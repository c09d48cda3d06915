"""GET /jobs/export: all jobs that filters select, in one download."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from foreman.domain.job_csv import COLUMNS
from tests.http.conftest import Api

pytestmark = pytest.mark.every_store

Fresh = Callable[..., Api]
LATER = "2099-01-01T00:00:00Z"


def some(api: Api, count: int, **fields: Any) -> None:
    """Store jobs that wait for a day that does not come."""
    line = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "not_before": LATER, **fields}
    body = b"".join(json.dumps({**line, "custom_id": f"c{number}"}).encode() + b"\n" for number in range(count))
    assert api.http.post("/jobs", content=body, headers={"Content-Type": "application/x-ndjson"}).status_code == 202


def exported(api: Api, form: str = "ndjson", token: str = "", **query: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = api.http.get("/jobs/export", params={"format": form, **query}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def lines(api: Api, **query: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported(api, **query).text.splitlines()]


def test_all_selected_jobs_are_exported_newest_first(fresh: Fresh) -> None:
    api = fresh()
    some(api, 1203, metadata={"project": "sky"})
    some(api, 2, model="b", metadata={"project": "=1+1"})
    answer = exported(api)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert re.fullmatch(
        r"attachment; filename\*=UTF-8''jobs-\d{8}T\d{6}Z\.ndjson", answer.headers["Content-Disposition"]
    )
    every = [json.loads(line) for line in answer.text.splitlines()]
    assert [job["job_id"] for job in every] == sorted((job["job_id"] for job in every), reverse=True)
    assert len(every) == 1205
    assert every[:500] == api.http.get("/jobs?limit=500").json()["jobs"]
    assert len(lines(api, model="a", **{"metadata.project": "sky"})) == 1203
    assert lines(api, limit=501) == every[:501]
    assert lines(api, limit=1000, after=every[499]["job_id"]) == every[500:]
    assert lines(api, state="done") == []

    table = exported(api, "csv", limit=1001)
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert [row["job_id"] for row in rows] == [job["job_id"] for job in every[:1001]]
    assert (rows[0]["metadata"], rows[0]["prompt_excerpt"]) == ('{"project":"=1+1"}', "hi")
    assert exported(api, "csv", state="done").text == ",".join(COLUMNS) + "\r\n"


def test_others_jobs_are_exported_where_they_are_seen(fresh: Fresh) -> None:
    api = fresh(token="alice:one,bob:two", private_jobs=True)
    for token in ("one", "two"):
        body = {"model": "a", "messages": [], "not_before": LATER}
        headers = {"Authorization": f"Bearer {token}"}
        assert api.http.post("/jobs", json=body, headers=headers).status_code == 202
    assert [json.loads(exported(api, token=token).text)["owner"] for token in ("one", "two")] == ["alice", "bob"]
    assert exported(api, token="one", caller="bob").text == ""
    ticket = api.http.post("/tickets", headers={"Authorization": "Bearer two"}).json()["ticket"]
    by_link = httpx2.get(f"{api.daemon.url}/jobs/export?format=ndjson&ticket={ticket}")
    assert by_link.json()["owner"] == "bob"


@pytest.mark.parametrize(
    "query",
    ["", "format=xml", "format=csv&limit=0", "format=csv&order=ended", "format=csv&state=odd", "format=csv&after=x"],
)
def test_what_cannot_be_exported_is_refused(api: Api, query: str) -> None:
    refused = api.http.get(f"/jobs/export?{query}")
    assert (refused.status_code, refused.json()["code"]) == (422, "field_invalid")


def test_other_methods(api: Api) -> None:
    head = api.http.head("/jobs/export?format=csv")
    assert (head.status_code, head.content, "Content-Disposition" in head.headers) == (200, b"", True)
    assert "Content-Length" not in head.headers
    assert api.http.post("/jobs/export?format=csv").status_code == 405
