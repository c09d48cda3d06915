"""What is at `/`, and the headers under which the page runs."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.foreman import Daemon

HTML = {"Accept": "text/html,application/xhtml+xml"}


def test_browsers_find_the_page_and_others_what_ollama_says(fresh: Callable[..., Daemon]) -> None:
    daemon = fresh(token="hush")
    daemon.http.headers.pop("Authorization")
    page = daemon.http.get("/", headers=HTML)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert daemon.http.get("/").text == "Ollama is running"
    for answer in (page, daemon.http.get("/")):
        assert "Accept" in answer.headers["Vary"].split(", ")
    assert daemon.http.head("/", headers=HTML).status_code == 200
    assert daemon.http.get("/queue", headers=HTML).status_code == 401


def test_the_page_may_load_nothing_from_elsewhere_and_be_shown_nowhere_else(fresh: Callable[..., Daemon]) -> None:
    daemon = fresh()
    for path in ("/", "/static/app.js", "/static/style.css", "/static/icon.svg"):
        answer = daemon.http.get(path, headers=HTML)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        again = daemon.http.get(path, headers=HTML | {"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in ("/static/nothing.js", "/static/../app.py", "/static/%2e%2e%2fpage.py", "/static/"):
        assert daemon.http.get(path).status_code == 404
