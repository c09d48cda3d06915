"""/openapi.json against a real Foreman: it takes what the description allows, refuses the rest, and answers as told."""

from __future__ import annotations

import copy
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from foreman.domain.fields import MODEL
from foreman.domain.job import JOB_ID
from foreman.domain.json_schema import TIME
from foreman.http.openapi.document import document
from tests.support.foreman import MODELS, Daemon, an_upstream

NDJSON = "application/x-ndjson"
MANAGING = re.compile("/api/(pull|push|create|copy|delete|blobs)")  # for an Ollama alone to judge
EACH = max(
    5, (hypothesis.settings.default or hypothesis.settings()).max_examples // 16
)  # random cases an operation; 125 of the thorough profile
SETTINGS = hypothesis.settings(
    max_examples=EACH, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
THOROUGH = EACH > 50
CONFIG: dict[str, Any] = {
    "phases": {"coverage": {"unexpected-methods": ["delete", "put"]}},
    "generation": {"deterministic": True, "database": "none"},
    "request-timeout": 20,
    "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", 501, 502, 503]}},
    "operations": [{"include-path": "/events", "max-stream-events": 1}],
}
if not THOROUGH:  # the routes of a dialect share their code
    CONFIG["operations"].append({"include-path-regex": "^/v1/|^/api/gen", "phases": {"coverage": {"enabled": False}}})
# What is right by the description, but not in the state that things are in: no schema can say it.
IN_TIME = (
    "illegal_step",
    "query_invalid",
    "not_indexed",
    "cursor_gone",
    "requested_range_not_satisfiable",
    "too_many_webhook_endpoints",
    "webhook_test_failed",
)
ENDLESS = ("/events", "/jobs/{job_id}/stream")  # while the job is queued
SSE = {"Accept": "text/event-stream"}
Case: TypeAlias = schemathesis.Case[Any]
KEY = "[!-~]{1,255}"
BOSS = {"Authorization": "Bearer boss"}
PARKED = {"not_before": "2090-01-01T00:00:00Z"}
WATCHED = {"state_webhook_url": "http://127.0.0.1:9/hook"}
WORDS = ("/jobs/cancel", "/jobs/uncancel", "/jobs/retry", "/jobs/delete", "/jobs/export")
RELATIVE = (
    "goes with Content-Type",
    "must be later than not_before",
    "within the next 100 years",
    "must be an RFC 3339 time",
    "with order=ended",
    "in the same order",
    "invalid model name",
    "the oldest kept",
    "the end of the period",
    "steps ago",
    "must have at least one of",
    "q: must have",
    "of an answer of POST /jobs/cancel",
)


def for_proof() -> dict[str, Any]:
    """The description, but: models that there are, a receiver that may be called, times that are mostly in order, and
    no key in an answer that is not described."""
    described = copy.deepcopy(document())
    shapes = described["components"]["schemas"]
    for shape in shapes.values():
        if "properties" in shape and "additionalProperties" not in shape:
            shape["additionalProperties"] = False
    known: dict[str, Any] = {"type": "string", "enum": MODELS.split(",")}
    own = shapes["Submission"]["properties"]
    own["model"] = known
    own["state_webhook_url"] = {"enum": [None, WATCHED["state_webhook_url"]]}
    own["not_before"] = {"anyOf": [{"enum": [None, "2090-01-01T00:00:00Z", "1999-01-01t00:00:00+01:00"]}, TIME]}
    own["start_by"] = {"enum": [None, "2091-01-01T00:00:00Z"]}
    either = {"anyOf": [known, MODEL.schema]}
    shapes["Call"]["properties"]["model"] = either
    described["paths"]["/v1/models/{name}"]["parameters"][0]["schema"] = either
    for path in ("/v1/webhook_endpoints", "/v1/webhook_endpoints/{endpoint_id}"):
        body = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        body["properties"]["url"] = {"enum": [WATCHED["state_webhook_url"]]}
    for name in ("Submission", "Call"):
        shapes[name]["examples"][0]["model"] = "a"
    lines = {"type": "array", "items": {"$ref": "#/components/schemas/Submission"}}
    described["paths"]["/jobs"]["post"]["requestBody"]["content"][NDJSON] = {"schema": lines}
    return described


@schemathesis.serializer(NDJSON)
def lines(ctx: Any, value: Any) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in (value if isinstance(value, list) else [value]))


def load(wanted: Callable[[str], bool]) -> OpenApiSchema:
    described = for_proof()
    described["paths"] = {path: methods for path, methods in described["paths"].items() if wanted(path)}
    return schemathesis.openapi.from_dict(described, config=SchemathesisConfig.from_dict(CONFIG))


number = itertools.count()
managing = load(lambda path: MANAGING.match(path) is not None)
judged = load(lambda path: MANAGING.match(path) is None)


@pytest.fixture(scope="module")
def foreman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with an_upstream("--kind", "both") as upstream:
        data = tmp_path_factory.mktemp("proof") / "data"
        with Daemon(data, ollama_url=upstream.url, retry_backoff=0.05, retry_backoff_max=0.1) as daemon:
            yield daemon
            assert daemon.errors == []


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with an_upstream("--kind", "openai") as upstream:
        data = tmp_path_factory.mktemp("proof") / "openai"
        with Daemon(data, openai_url=upstream.url, admin_token="boss") as daemon:
            yield daemon
            assert daemon.errors == []


@judged.parametrize()
@SETTINGS
def test_it_answers_as_described(case: Case, foreman: Daemon) -> None:
    if re.fullmatch(JOB_ID, str(case.path_parameters.get("job_id"))):
        put_a_job_there(case, foreman)
    if case.media_type == NDJSON:  # which takes no key
        case.headers.pop("Idempotency-Key", None)
    elif re.fullmatch(KEY, str(case.headers.get("Idempotency-Key", ""))):  # each its own, or all would be one job
        case.headers["Idempotency-Key"] = f"{next(number)}"
    response = case.call(base_url=foreman.url, headers=SSE if case.path in ENDLESS else None)
    if case.path == "/queue/pause":
        foreman.http.post("/queue/resume")
    case.validate_response(response, excluded_checks=beside_the_point(case, response))


def put_a_job_there(case: Case, foreman: Daemon) -> None:
    """A job that there is, in place of a made-up one: done, failed, cancelled or queued."""
    chance = zlib.crc32(str(case.path_parameters).encode())
    kind = 0 if "name" in case.path_parameters else chance % 4
    text, fields = [("hello", {}), ("#status=400", {}), ("", PARKED), ("", PARKED)][kind]
    asked = {"model": "a", "messages": [{"role": "user", "content": text}], **WATCHED, **fields}
    job_id = foreman.http.post("/jobs", json=asked, headers={"Prefer": "wait=10"} if text else {}).json()["job_id"]
    if kind == 2 or case.path in ENDLESS:
        foreman.http.post(f"/jobs/{job_id}/cancel")
    case.path_parameters["job_id"] = job_id
    if "delivery_id" in case.path_parameters:
        found = foreman.http.get(f"/jobs/{job_id}/deliveries").json()["deliveries"]
        case.path_parameters["delivery_id"] = found[0]["delivery_id"]
    if "name" in case.path_parameters and chance % 2:
        case.path_parameters["name"] = "completion"


def beside_the_point(case: Case, response: Any) -> list[CheckFunction]:
    if response.status_code == 206:  # a part of some JSON is none
        return [response_schema_conformance]
    if response.status_code == 404 and case.path in WORDS:  # by another method it is an id, of a job that is not there
        return [unsupported_method]
    if case.media_type == NDJSON:  # of which a part may be accepted
        return [positive_data_acceptance, negative_data_rejection]
    if response.status_code in (400, 409, 410, 416, 422):
        error = response.json()
        if error.get("code") in IN_TIME or any(words in str(error["error"]) for words in RELATIVE):
            return [positive_data_acceptance]
    return []


@managing.parametrize()
@SETTINGS
def test_models_of_a_target_that_is_no_ollama_are_not_managed(case: Case, openai: Daemon) -> None:
    response = case.call(base_url=openai.url, headers=BOSS)
    case.validate_response(response, excluded_checks=[negative_data_rejection, positive_data_acceptance])
    assert response.status_code in (501, 404, 405)
    assert case.call(base_url=openai.url).status_code in (403, 404, 405)
