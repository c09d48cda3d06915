"""What config/ offers an operator agrees with the program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from foreman.config import sources
from foreman.config.settings import Settings
from tests.support.api import state, submit
from tests.support.foreman import ROOT, Daemon, managed, until

CONFIG = ROOT / "config"
FILES = [*sorted(CONFIG.iterdir()), ROOT / "docs" / "deploy.md"]
NOT_OURS = {"instance", "job", "le"}  # labels that Prometheus adds
STRINGS = re.compile(r'"[^"]*"')
SELECTOR = re.compile(r"\b(foreman_\w+)(?:\{([^}]*)\})?")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that has done a job, so that no metric lacks a sample for want of work."""
    with Daemon(tmp_path_factory.mktemp("deploy") / "data", models=managed("a"), forked=False) as daemon:
        job_id = submit(daemon, "x")
        until(lambda: state(daemon, job_id) == "done")
        yield daemon


@pytest.fixture(scope="module")
def known(daemon: Daemon) -> dict[str, set[str]]:
    """The metrics that Prometheus finds at /metrics, and the labels that are documented for each."""
    shown = daemon.http.get("/metrics").text
    kinds = {line.split()[2]: line.split()[3] for line in shown.splitlines() if line.startswith("# TYPE")}
    rows = re.findall(r"^\| `(foreman_\w+)` \| \w+ \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    labels = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}
    found = {}
    for name, kind in kinds.items():
        if not name.endswith("_created"):
            for suffix in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
                found[name + suffix] = labels[name]
    return found


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((CONFIG / "prometheus-alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads((CONFIG / "grafana-dashboard.json").read_text())["panels"])


def asked() -> dict[str, str]:
    """Every expression by where it stands."""
    found = {rule["alert"]: rule["expr"] for rule in alerts()}
    found |= {f"{panel['title']} {t['refId']}": t["expr"] for panel in panels() for t in panel["targets"]}
    lists = json.loads((CONFIG / "grafana-dashboard.json").read_text())["templating"]["list"]
    return found | {one["name"]: one["definition"] for one in lists if "definition" in one}


@pytest.mark.alone  # its log has a size
@pytest.mark.parametrize("where", asked())
def test_every_metric_that_is_asked_for_exists(where: str, known: dict[str, set[str]]) -> None:
    expression = asked()[where]
    for name, selector in SELECTOR.findall(expression):
        assert name in known
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", STRINGS.sub("", selector)))
        assert labels <= known[name] | NOT_OURS
    used = {name for words in re.findall(r"\bby \(([^)]*)\)", expression) for name in words.split(", ")}
    named = [known[name] for name, _ in SELECTOR.findall(expression)]
    assert all(used <= labels | NOT_OURS for labels in named)


@pytest.mark.alone
def test_the_dashboard_leaves_no_metric_out(known: dict[str, set[str]]) -> None:
    shown = {name for panel in panels() for t in panel["targets"] for name, _ in SELECTOR.findall(t["expr"])}
    shown |= {f"foreman_phase_seconds_{part}" for part in ("count", "sum")}  # of the histogram that it shows
    assert set(known) == shown
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_variable_that_is_named_is_one(file: Any) -> None:
    variables = {f"{sources.PREFIX}{name.upper()}" for name in Settings.model_fields}
    variables |= {f"{name}_FILE" for name in variables} | sources.NOT_SETTINGS
    named = set(re.findall(r"\bFOREMAN_[A-Z][A-Z_]*[A-Z]", file.read_text()))
    assert named <= variables


def dockerfile() -> str:
    return (CONFIG / "Dockerfile").read_text().replace("\\\n", "")


def test_the_containers_settings_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = yaml.safe_load((CONFIG / "compose.yaml").read_text())
    environment = dict(re.findall(r"\b(FOREMAN_\w+)=(\S+)", dockerfile()))
    environment |= compose["services"]["foreman"]["environment"] | {"FOREMAN_TOKEN": "hush"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    chosen = sources.load()
    assert (chosen.host, chosen.port) == ("0.0.0.0", 8080)
    assert chosen.ollama_url == "http://ollama:11434"


def test_the_settings_of_the_containers_that_share_a_database_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = yaml.safe_load((CONFIG / "compose-fleet.yaml").read_text())
    services, names = compose["services"], set[str]()
    for name, service in services.items():
        if name.startswith("foreman-"):
            for key, value in (service["environment"] | {"FOREMAN_TOKEN": "hush"}).items():
                monkeypatch.setenv(key, value)
            chosen = sources.load()
            assert chosen.advertised == f"http://{name}:8080"
            assert set(service["depends_on"]) == {"database", f"ollama-{name[-1]}"}
            assert name in services["proxy"]["depends_on"]
            names.add(chosen.node)
    assert names == {"one", "two", "three"}
    assert {one.split(":")[0] for part in services.values() for one in part.get("volumes", [])} == set(
        compose["volumes"]
    )


def test_the_parts_of_the_composition_know_each_other() -> None:
    compose = yaml.safe_load((CONFIG / "compose.yaml").read_text())
    foreman, ollama = compose["services"]["foreman"], compose["services"]["ollama"]
    assert foreman["depends_on"] == {"ollama": {"condition": "service_healthy"}}
    assert "healthcheck" in ollama
    assert {one.split(":")[0] for part in (foreman, ollama) for one in part["volumes"]} == set(compose["volumes"])
    assert (CONFIG / foreman["build"]["context"] / foreman["build"]["dockerfile"]).is_file()
    assert foreman["volumes"][0].split(":")[1] == re.findall(r"^VOLUME (\S+)$", dockerfile(), re.MULTILINE)[0]


def test_what_the_image_is_made_of_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile(), re.MULTILINE) for word in line.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / name).exists() for name in sent)


def test_the_images_health_check_asks_whether_it_is_ready(daemon: Daemon) -> None:
    [words] = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", dockerfile(), re.MULTILINE)
    python, *rest = json.loads(words)
    assert python == "python"

    def check(port: str) -> int:
        command = [sys.executable, *(word.replace("8080", port) for word in rest)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert check(daemon.url.rpartition(":")[2]) == 0
    assert check("9") != 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_service(tmp_path: Any) -> None:
    unit = (CONFIG / "foreman.service").read_text()
    assert "/usr/local/bin/foreman" in unit
    copy = tmp_path / "foreman.service"
    copy.write_text(unit.replace("/usr/local/bin/foreman", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
