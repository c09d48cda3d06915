"""Jobs are found by the words of their requests and answers: in lists, counts and actions on many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.http.conftest import Api
from tests.support.foreman import until

Fresh = Callable[..., Api]
LATER = "2099-01-01T00:00:00Z"


def found(api: Api, q: str, token: str = "", **filters: str) -> list[str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = api.http.get("/jobs", params={"q": q, **filters}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [job["job_id"] for job in answer.json()["jobs"]]


def refused(api: Api, q: str) -> tuple[int, str]:
    answer = api.http.get("/jobs", params={"q": q})
    told: dict[str, Any] = answer.json()
    return answer.status_code, told["code"]


def until_indexed(api: Api, q: str) -> None:
    until(lambda: api.http.get("/jobs", params={"q": q}).status_code == 200)


@pytest.mark.every_store
def test_jobs_are_found_by_words_and_acted_on(fresh: Fresh) -> None:
    api = fresh(full_text=True, token="anna:one,ben:two", admin_token="all", private_jobs=True)
    api.http.headers["Authorization"] = "Bearer all"
    until_indexed(api, "anything")
    anna, ben = {"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}
    mine = api.post("Crème brûlée, please", not_before=LATER, headers=anna).json()["job_id"]
    his = api.post("No creme today", not_before=LATER, headers=ben).json()["job_id"]
    assert found(api, "CREME") == [his, mine]
    assert found(api, "brul* creme") == found(api, "creme", "one") == [mine]
    assert found(api, "creme", "two") == [his]
    assert found(api, "creme", state="done") == []
    done = api.submit("hello")
    until(lambda: found(api, "hello", state="done") == [done])
    told = api.http.get(f"/jobs/{done}").json()["result"]["message"]["content"]
    assert found(api, told) == [done]
    answer = api.http.post("/jobs/cancel", params={"q": "creme -please"}, headers=anna).json()
    assert (answer["matched"], answer["done"], answer["skipped"]) == (1, 1, 0)
    answer = api.http.post("/jobs/delete", params={"q": "creme"}).json()
    assert (answer["matched"], answer["done"], answer["skipped"]) == (2, 1, 1)
    assert found(api, "creme") == [his]


def test_signs_in_a_search_are_never_syntax(fresh: Fresh) -> None:
    api = fresh(full_text=True)
    until_indexed(api, "anything")
    job = api.submit('He said "a AND b" near: 👍 東京タワー', not_before=LATER)
    searches = [
        '"',
        '"a',
        "a AND b",
        "NEAR(a b)",
        "-a",
        "near:",
        "request : a",
        "{a b}",
        "a + b",
        "^a",
        "👍",
        "京タ",
        "a OR",
    ]
    for q in searches:
        answer = api.http.get("/jobs", params={"q": q})
        assert answer.status_code == (422 if q == '"' else 200), (q, answer.text)
    assert [found(api, q) for q in ("near: a", "-a", "👍", "京タ", "sai*")] == [[job]] * 5
    assert found(api, "a OR b") == found(api, "request : a") == []
    assert found(api, "a " * 128) == [job]
    for q in ("", "***", "a\0b", "a" * 257, "a" * 65):
        assert refused(api, q) == (422, "field_invalid")


@pytest.mark.every_store
def test_it_is_switched_on_and_off_while_foreman_runs(fresh: Fresh) -> None:
    api = fresh(full_text=False)
    job = api.submit("before", not_before=LATER)
    assert refused(api, "before") == (422, "not_indexed")
    assert api.http.post("/jobs/cancel", params={"q": "before"}).status_code == 422
    api.daemon.kill()
    api = fresh(full_text=True)
    until_indexed(api, "before")
    until(lambda: found(api, "before") == [job])
    api.daemon.kill()
    api = fresh(full_text=False)
    until(lambda: refused(api, "before") == (422, "not_indexed"))
