"""The settings: where they come from and what they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreman.config.settings import Settings
from foreman.config.sources import load
from foreman.domain.errors import SettingInvalid


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, empty at first."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def toml(text: str, path: str = "config/foreman.toml") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def refusal(**flags: Any) -> str:
    with pytest.raises(SettingInvalid) as error:
        load(flags=flags)
    return str(error.value)


def test_without_any_source_the_defaults_hold() -> None:
    settings = load()
    assert (settings.addr, settings.slots, settings.max_attempts) == ("127.0.0.1:8080", 1, 3)
    assert (settings.shutdown_grace, settings.max_body, settings.job_ttl) == (30, 64 * 2**20, 7 * 86400)
    assert settings.only_loopback


def test_each_source_outranks_the_ones_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [load().slots]
    toml("slots = 2")
    seen.append(load().slots)
    Path(".env").write_text("FOREMAN_SLOTS=3\n", encoding="utf-8")
    seen.append(load().slots)
    monkeypatch.setenv("FOREMAN_SLOTS", "4")
    seen.append(load().slots)
    seen.append(load(flags={"slots": 5}).slots)
    assert seen == [1, 2, 3, 4, 5]


def test_a_file_that_is_named_takes_the_place_of_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("slots = 2")
    named, from_variable = toml("slots = 6", "other.toml"), toml("slots = 7", "third.toml")
    monkeypatch.setenv("FOREMAN_CONFIG", str(from_variable))
    assert load().slots == 7
    assert load(named).slots == 6


def test_the_lines_of_others_in_an_env_file_are_left_alone() -> None:
    Path(".env").write_text("DATABASE_URL=x\nFOREMAN_SLOTS=3\nOPENAI_API_KEY=k\n", encoding="utf-8")
    assert load().slots == 3


def test_a_config_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        SettingInvalid, match=r"^setting config: must be a TOML file that exists; given: 'nowhere.toml'$"
    ):
        load(Path("nowhere.toml"))


def test_a_syntax_error_names_the_file() -> None:
    toml("slots = = 2")
    words = refusal()
    assert words.startswith("setting config: must be valid TOML (")
    assert "foreman.toml" in words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5 h", 5400), ("10 min", 600), ("250ms", 0.25), ("7 d", 604800), ("2W", 1209600)],
)
def test_times_may_carry_a_unit(text: str, seconds: float) -> None:
    assert load(flags={"attempt_timeout": text}).attempt_timeout == seconds


@pytest.mark.parametrize(("text", "size"), [("100", 100), ("64 MiB", 2**26), ("1GB", 10**9), ("1.5 kib", 1536)])
def test_sizes_may_carry_a_unit(text: str, size: int) -> None:
    assert load(flags={"max_body": text}).max_body == size


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("slots", 0, 'must be a whole number from 1 to 1,024, or "auto"'),
        ("slots", "many", "or \"auto\"; given: 'many'"),
        ("slots", 1025, 'or "auto"; given: 1025'),
        ("slots", True, 'or "auto"; given: true'),
        ("slots", 1.5, 'or "auto"; given: 1.5'),
        ("slots", "-1", "or \"auto\"; given: '-1'"),
        ("targets", [{"name": "x", "managed": True, "slots": "manual"}], "or \"auto\"; given: 'manual'"),
        ("max_attempts", 21, "must be at most 20"),
        ("attempt_timeout", "5 fortnights", "must be a number or text like '10 min'"),
        ("attempt_timeout", 0, "must be more than 0"),
        ("attempt_timeout", "nan", "must be a number or text like '10 min'"),
        ("attempt_timeout", float("nan"), ""),
        ("attempt_timeout", True, "must be a number or text like '10 min'"),
        ("max_body", "64 Miles", "must be a number or text like '64 MiB'"),
        ("addr", "localhost", "must be HOST:PORT or :PORT"),
        ("addr", "localhost:http", "must be HOST:PORT or :PORT"),
        ("addr", "localhost:99999", "must be HOST:PORT or :PORT"),
        ("addr", "::1:8080", "must be [IPv6]:PORT"),
        (
            "ollama_url",
            "localhost:11434",
            "must be an http:// or https:// address; did you mean http://localhost:11434?",
        ),
        ("ollama_url", "http://", "must be an http:// or https:// address"),
        ("ollama_url", "http://[::1", "must be an http:// or https:// address"),
        ("openai_url", "http://a/v1?api_key=x", "must end with its path"),
        ("openai_url", "http://a/v1#x", "must end with its path"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("models", [{"name": "m", "command": []}], "must have 1 or more entries"),
        ("models", [{"name": 1, "command": ["x"]}], "must be text; given: 1"),
        ("models", [{"name": "m", "command": "x"}], "must be a list; given: 'x'"),
        ("models", [{"command": ["x"], "env": {"KEY": "hidden"}}], 'must be given; given: ["command", "env"]'),
        ("models", [{"name": "m", "command": ["x"], "env": {"KEY": ["hidden"]}}], "must be text"),
        ("models", [{"name": "m", "command": ["x"], "env": "hidden"}], "must be a table"),
        ("models", [1], "must be a table; given: 1"),
        ("insecure", "perhaps", "must be true or false; given: 'perhaps'"),
    ],
)
def test_a_wrong_value_is_one_line_with_what_was_given_and_what_is_allowed(
    name: str, given: object, allowed: str
) -> None:
    words = refusal(**{name: given})
    assert words.startswith(f"setting {name}")
    assert allowed in words
    assert "; given: " in words
    assert "\n" not in words


def test_the_query_of_an_address_is_not_told() -> None:
    assert "given: 'http://a/v1?***'" in refusal(openai_url="http://a/v1?api_key=hidden")


@pytest.mark.parametrize("env", [{"KEY": ["hidden"]}, "hidden"])
def test_what_env_has_is_not_told(env: object) -> None:
    assert "hidden" not in refusal(models=[{"name": "m", "command": ["x"], "env": env}])


def test_an_unknown_key_of_a_table_is_refused_with_the_nearest_of_the_table() -> None:
    toml('[[targets]]\nname = "a"\nollama_url = "http://a"\nslotz = 2')
    assert refusal() == "setting targets.0.slotz: there is no such setting, did you mean slots?; given: 2"
    toml("[quotas.alice]\njobs = 2")
    allowed = "waiting, running, tokens_per_hour, max_files"
    assert refusal() == f"setting quotas.alice.jobs: there is no such setting; allowed: {allowed}; given: 2"


def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_one() -> None:
    toml("slot = 2")
    assert refusal() == "setting slot: there is no such setting, did you mean slots?; given: 2"


def test_an_unknown_variable_is_refused_with_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_OLAMA_URL", "http://x")
    assert "FOREMAN_OLAMA_URL: there is no such setting, did you mean FOREMAN_OLLAMA_URL?" in refusal()


def test_an_unknown_key_in_the_env_file_is_refused() -> None:
    Path(".env").write_text("FOREMAN_SLOT=3\n", encoding="utf-8")
    assert "there is no such setting" in refusal()


def test_an_unknown_key_of_a_model_is_refused() -> None:
    assert refusal(models=[{"name": "m", "command": ["x"], "comand": 1}]).startswith("setting models.0.comand: ")


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_TOKEN_FILE", str(toml("one,two\n", "secret")))
    assert [token.get_secret_value() for token in load().token] == ["one", "two"]


def test_the_variable_outranks_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_OLLAMA_TOKEN_FILE", str(toml("from the file", "secret")))
    monkeypatch.setenv("FOREMAN_OLLAMA_TOKEN", "from the variable")
    assert load().ollama_token.get_secret_value() == "from the variable"


def test_a_secret_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_TOKEN_FILE", "/nowhere/token")
    said = refusal()
    assert (
        said == "setting token_file: must be a readable text file (No such file or directory); given: '/nowhere/token'"
    )


def test_only_secrets_are_read_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_SLOTS_FILE", str(toml("7", "slots")))
    assert "FOREMAN_SLOTS_FILE" in refusal()


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_TOKEN", "hush")
    assert "hush" not in repr(load())


@pytest.mark.parametrize("addr", [":8080", "0.0.0.0:8080", "[::]:8080", "192.168.1.5:80", "example.com:80"])
def test_a_public_address_without_a_token_is_refused(addr: str) -> None:
    assert refusal(addr=addr) == f"setting addr: a public address needs a token (or insecure = true); given: {addr!r}"
    assert load(flags={"addr": addr, "token": "t"}).token
    assert load(flags={"addr": addr, "insecure": True}).insecure


@pytest.mark.parametrize("token", ["", "secret", "alice:one,secret", "al ice:one", ":one", "alice:"])
def test_private_jobs_need_a_name_for_every_token(token: str) -> None:
    assert "setting private_jobs: needs tokens, each with a name" in refusal(private_jobs=True, token=token)
    assert load(flags={"private_jobs": True, "token": "alice:one,bob:two"}).private_jobs
    assert not load(flags={"token": token}).private_jobs


@pytest.mark.parametrize("addr", ["127.0.0.1:0", "localhost:80", "[::1]:80", "127.9.9.9:80"])
def test_a_loopback_address_needs_no_token(addr: str) -> None:
    assert load(flags={"addr": addr}).only_loopback


def test_the_short_settings_name_targets_by_their_kind() -> None:
    given = load(flags={"ollama_url": "http://a, http://b/", "openai_url": "http://c", "slots": 2}).all_targets
    assert [(one.name, one.kind, one.url, one.slots) for one in given] == [
        ("ollama", "ollama", "http://a", 2),
        ("ollama-2", "ollama", "http://b", 2),
        ("openai", "openai", "http://c", 2),
    ]
    assert [(one.name, one.kind) for one in load().all_targets] == [("managed", "managed")]


def test_targets_are_tables_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    toml('slots = 3\n[[targets]]\nname = "big"\nollama_url = "http://a"\nslots = 8\nmodels = ["qwen*", "b"]')
    (big,) = load().all_targets
    assert (big.name, big.slots, big.max_loaded) == ("big", 8, 1)
    assert [name for name in ("qwen3:8b", "b", "c") if big.takes(name)] == ["qwen3:8b", "b"]
    monkeypatch.setenv("FOREMAN_TARGETS", '[{"name": "x", "openai_url": "http://b"}]')
    (other,) = load().all_targets
    assert (other.name, other.kind, other.slots) == ("x", "openai", 3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"targets": [{"name": "a", "managed": True}], "ollama_url": "http://a"}, "cannot be set beside targets"),
        ({"targets": [{"name": "a"}]}, "must have one of ollama_url, openai_url and managed"),
        ({"targets": [{"name": "a", "ollama_url": "http://a", "openai_url": "http://b"}]}, "must have one of"),
        ({"targets": [{"name": "a b", "ollama_url": "http://a"}]}, "targets.0.name"),
        ({"targets": [{"name": "a", "ollama_url": u} for u in ("http://a", "http://b")]}, "different names"),
        ({"ollama_url": "http://a,http://a"}, "different addresses"),
        ({"targets": [{"name": "a", "managed": True, "max_loaded": 2}]}, "is for servers with an address"),
        ({"targets": [{"name": "a", "openai_url": "http://a", "memory": "1 GiB"}]}, "is for managed targets only"),
        ({"targets": [{"name": "a", "managed": True}]}, "must have a model: a table [[models]]"),
        (
            {"targets": [{"name": "a", "ollama_url": "http://a"}], "models": [{"name": "m", "command": ["x"]}]},
            "needs a target with managed = true",
        ),
        (
            {
                "targets": [{"name": "a", "managed": True}, {"name": "b", "managed": True}],
                "models": [{"name": "m", "command": ["x"], "target": "a"}, {"name": "n", "command": ["x"]}],
            },
            "must have one of these as its target: a, b",
        ),
    ],
)
def test_targets_that_contradict_each_other_are_refused(flags: dict[str, Any], words: str) -> None:
    assert words in refusal(**flags)


def test_tables_in_the_environment_must_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_MODELS", '[{"name": "m"')
    assert refusal() == "setting models: must be valid JSON in the environment; given: '***'"


def test_names_of_models_are_unique() -> None:
    models = [{"name": "a", "command": ["x"]}, {"name": "b", "command": ["x"], "aliases": ["a"]}]
    words = refusal(models=models)
    assert words.startswith("setting models: names and aliases must be unique")
    assert words.endswith('; given: ["a"]')


def test_a_name_may_be_repeated_on_another_target(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    targets = "".join(f'[[targets]]\nname = "{name}"\nmanaged = true\n' for name in ("one", "two"))
    models = "".join(f'[[models]]\nname = "a"\ncommand = ["x"]\ntarget = "{name}"\n' for name in ("one", "two"))
    file.write_text(targets + models)
    assert [model.target for model in load(file).models] == ["one", "two"]
    file.write_text(targets + models + '[[models]]\nname = "a"\ncommand = ["x"]\ntarget = "two"\n')
    with pytest.raises(SettingInvalid, match="names and aliases must be unique"):
        load(file)
    file.write_text(targets + models.replace('"a"', '"b"', 1) + 'aliases = ["b"]\n')
    with pytest.raises(SettingInvalid, match="names and aliases must be unique"):
        load(file)


@pytest.mark.parametrize(
    ("memory", "sizes", "why"),
    [
        (
            "22 GiB",
            {"a": "23 GiB"},
            r"models\.a\.memory: must be at most 22 GiB of the target gpu; given: '23 GiB'",
        ),
        (
            "22 GiB",
            {"a": "20 GiB", "e": "4 GiB"},
            r"a\.memory: must be at most 18 GiB of .*embedding models leave",
        ),
        (
            "2 GiB",
            {"a": "1 GiB", "e": "3 GiB"},
            r"gpu\.memory: must be at least what its embedding models",
        ),
        (None, {"a": "1 MiB"}, r"models\.a\.memory: needs a table of targets .*; given: '1 MiB'"),
    ],
)
def test_models_must_fit_in_the_memory_of_their_target(
    tmp_path: Path, memory: str | None, sizes: dict[str, str], why: str
) -> None:
    file = tmp_path / "f.toml"
    text = '[[targets]]\nname = "gpu"\nmanaged = true\n' + (f'memory = "{memory}"\n' if memory else "")
    for name, size in sizes.items():
        text += f'[[models]]\nname = "{name}"\ncommand = ["x"]\nmemory = "{size}"\n'
        text += "embedding = true\n" if name == "e" else ""
    file.write_text(text)
    with pytest.raises(SettingInvalid, match=why):
        load(file)


def test_models_may_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_MODELS", '[{"name": "m", "command": ["serve", "{port}"], "ttl": "5 min"}]')
    assert [(model.name, model.ttl) for model in load().models] == [("m", 300)]


def test_the_host_and_port_are_read_out_of_the_address() -> None:
    known = [Settings.model_construct(addr=addr) for addr in (":0", "[::1]:5", "a.b:6")]
    assert [(s.host, s.port) for s in known] == [("0.0.0.0", 0), ("::1", 5), ("a.b", 6)]


def test_quotas_are_tables_of_the_file_or_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("[quotas.alice]\nwaiting = 5\ntokens_per_hour = 2000\n[quotas.bob]\nrunning = 1")
    found = {name: quota.model_dump(exclude_none=True) for name, quota in load().quotas.items()}
    assert found == {"alice": {"waiting": 5, "tokens_per_hour": 2000}, "bob": {"running": 1}}
    monkeypatch.setenv("FOREMAN_QUOTAS", '{"carol": {"running": 2}}')
    assert load().quotas["carol"].running == 2


@pytest.mark.parametrize(
    ("quotas", "told"),
    [
        ({"alice": {"waiting": 0}}, "quotas.alice.waiting: must be at least 1; given: 0"),
        ({"alice": {"jobs": 1}}, "quotas.alice.jobs: there is no such setting"),
        ({"al ice": {"waiting": 1}}, "each name must be that of a token"),
        ({"alice": 5}, "quotas.alice"),
    ],
)
def test_a_wrong_quota_is_named(quotas: Any, told: str) -> None:
    assert told in refusal(quotas=quotas)


def test_costs_are_tables_of_the_file_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    toml('[cost."qwen3:8b"]\ninput = 3\noutput = 6\nhour = 36\n[cost."*"]\noutput = 1.5\ncached = 0')
    costs = {model: cost.price() for model, cost in load().cost.items()}
    assert costs == {"qwen3:8b": (3e-6, 3e-6, 6e-6, 0.01), "*": (0, 0, 1.5e-6, 0)}
    monkeypatch.setenv("FOREMAN_COST", '{"a": {"hour": 3600}}')
    assert load().cost["a"].price().second == 1


def test_a_wrong_cost_is_named() -> None:
    assert "cost.a.input: must be at least 0.0; given: -1" in refusal(cost={"a": {"input": -1}})
    assert "cost.a.price: there is no such setting" in refusal(cost={"a": {"price": 1}})
