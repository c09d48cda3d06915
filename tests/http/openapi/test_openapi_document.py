"""The description itself: OpenAPI 3.1, every route and every fault in it, and nothing that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from foreman.domain import errors
from foreman.domain.errors import ForemanError, Misrouted, TargetRefused
from foreman.domain.node_auth import BETWEEN_NODES
from foreman.http.asgi import build
from foreman.http.context import Context
from foreman.http.errors import status_of
from foreman.http.openapi.codes import STATUSES
from foreman.http.openapi.document import document
from tests.support.foreman import Daemon, an_upstream

METHODS = ("get", "post", "put", "delete", "head", "patch")
INTERNAL = {  # codes that no answer carries
    "setting_invalid",
    "store_refused",
    "store_broken",
    "store_rejected",
    "target_fault",
    "stream_broken",  # the last words of a stream
    "answer_cut",  # the mark of a job that is done
    "too_many_connections",  # before there is a route; the description's first words are about it
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method in METHODS:
            if method in methods:
                yield path, method, methods[method]


def routes() -> set[tuple[str, str]]:
    """Every path and method of the app; that Quart adds OPTIONS, and HEAD to GET, goes without saying."""
    found = set()
    settings = SimpleNamespace(max_body=1, body_timeout=1)
    app = build(cast(Context, SimpleNamespace(settings=settings)))
    for rule in app.url_map.iter_rules():
        if rule.websocket or rule.rule.startswith(BETWEEN_NODES):  # which no caller may use
            continue
        choice = re.search(r"<any\((.*?)\):\w+>", rule.rule)
        rules = [rule.rule.replace(choice[0], word.strip()) for word in choice[1].split(",")] if choice else [rule.rule]
        for text in rules:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", text).replace("//", "/")  # a name may begin with a slash
            found |= {(path, method.lower()) for method in (rule.methods or set()) - {"OPTIONS"}}
    return found


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(path, method) for path, method, _ in operations()}
    implied = {(path, "head") for path, method in described if method == "get"}
    assert routes() == described | implied


def test_it_is_openapi_3_1_and_its_shapes_are_json_schemas() -> None:
    described = document()
    errors = [error.message for error in jsonschema_rs.validator_for(OPENAPI_31).iter_errors(described)]
    assert errors == []
    for shape in described["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator(
            shape | {"components": described["components"]}
        )  # which refuses what is none


def test_references_links_and_parameters_lead_somewhere() -> None:
    described = document()
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    for name in re.findall(r"'#/components/schemas/(\w+)'", repr(described)):
        assert name in described["components"]["schemas"]
    parameters = {operation["operationId"]: set(re.findall(r"{(\w+)}", path)) for path, _, operation in operations()}
    for path, methods in described["paths"].items():
        assert {given["name"] for given in methods.get("parameters", [])} == set(re.findall(r"{(\w+)}", path))
    for _, _, operation in operations():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                assert set(link["parameters"]) == parameters[link["operationId"]]


def all_errors(kind: type[ForemanError] = ForemanError) -> Iterator[type[ForemanError]]:
    for child in kind.__subclasses__():
        yield child
        yield from all_errors(child)


def test_every_fault_is_described_with_the_status_that_it_has() -> None:
    public = {error for error in all_errors() if error.__module__.startswith(errors.__name__)} - {
        Misrouted,
        TargetRefused,
    }
    public = {error for error in public if error.code not in INTERNAL | {"internal_error"}}
    for error in public:
        assert STATUSES[error.code] == status_of(error.__new__(error)), error
    shown = {code for path in document()["paths"].values() for code in re.findall(r"[a-z_]+", repr(path))}
    assert {error.code for error in public} <= shown


@pytest.fixture(scope="module")
def foreman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with an_upstream("--kind", "ollama") as upstream:
        data = tmp_path_factory.mktemp("document") / "data"
        with Daemon(data, ollama_url=upstream.url, token="hush") as daemon:
            yield daemon


def test_it_is_served_to_those_who_have_the_token(foreman: Daemon) -> None:
    response = foreman.http.get("/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == document()
    assert foreman.http.get("/openapi.json", headers={"Authorization": "Bearer guess"}).status_code == 401


def test_a_job_can_be_followed_by_its_links(foreman: Daemon) -> None:
    described = {operation["operationId"]: (method, path) for path, method, operation in operations()}
    accepted = foreman.http.post("/jobs", json={"model": "a", "messages": [{"role": "user", "content": "hello"}]})
    foreman.http.get(accepted.headers["Location"] + "/stream")
    links = document()["paths"]["/jobs"]["post"]["responses"]["202"]["links"]
    for link in links.values():
        assert link["parameters"] == {"job_id": "$response.body#/job_id"}
        method, path = described[link["operationId"]]
        answer = foreman.http.request(method, path.format(job_id=accepted.json()["job_id"]))
        assert answer.status_code in (200, 204, 409), link
