"""Conversion of a configuration of llama-swap into settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from foreman.config.command_text import PORT, Macros, words_of
from foreman.config.macros import ENVIRONMENT
from foreman.config.managed_model import OWN_KEYS

Json: TypeAlias = dict[str, Any]

LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "error": "error"}
LEAST_READY = 15  # seconds; llama-swap waits no shorter for a server
MOST_AT_ONCE = 1024
EMBEDDING = frozenset({"--embedding", "--embeddings", "--rerank", "--reranking"})  # of llama-server
OWN_ADDRESS = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\]):(\{port\}|\d+)/?")

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")  # for the name of a target

MEMORY = "give the target `memory` and each model its own: what fits together stays loaded"
TOP = {  # fields without a counterpart, and what there is instead
    "logTimeFormat": "",
    "logToStdout": "what servers print is in data_dir/logs",
    "metricsMaxInMemory": "figures are kept on disk, for usage_history",
    "captureBuffer": "requests and answers are kept with their jobs, for job_ttl",
    "startPort": "{port} is a free port, or a model's `port`",
    "sendLoadingState": "a job says when it is loading",
    "includeAliasesInList": "",
    "groups": MEMORY,
    "matrix": MEMORY,
}
OF_MODEL = {
    "name": "",
    "description": "",
    "unlisted": "all models are listed",
    "metadata": "",
    "sendLoadingState": "a job says when it is loading",
    "timeouts": "see first_chunk_timeout, stall_timeout and attempt_timeout",
}
OF_FILTERS = {"setParamsByID": "make each variant a model of its own, with `set`"}


def imported(config: Mapping[str, Any]) -> tuple[Json, list[str]]:
    """Return the settings for a configuration, and a warning for each field that has no counterpart.

    Raise ValueError for a configuration that llama-swap itself would refuse.
    """
    conversion = _Conversion(config)
    return conversion.settings(), conversion.warnings


class _Conversion:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._macros = Macros(_table(config.get("macros"), "macros"))
        self.warnings: list[str] = []

    def settings(self) -> Json:
        config, settings = self._config, Json()
        if (level := str(config.get("logLevel"))) in LEVELS and level != "info":
            settings["log_level"] = LEVELS[level]
        if tokens := list(self._tokens()):
            settings["token"] = tokens
        if macros := self._macros.converted():
            settings["macros"] = macros
        models = _table(config.get("models"), "models")
        if peers := _table(config.get("peers"), "peers"):
            managed = [{"name": "managed", "managed": True}] if models else []
            settings["targets"] = managed + [self._peer(name, fields) for name, fields in peers.items()]
        preloaded = self._preloaded(models)
        settings["models"] = [
            self._model(str(name), _table(fields, f"models.{name}"), preload=name in preloaded)
            for name, fields in models.items()
        ]
        taken = {"healthCheckTimeout", "logLevel", "globalTTL", "macros", "apiKeys", "models", "hooks", "peers"}
        self._leave_out("", config, taken, TOP)
        return settings

    def _tokens(self) -> Iterator[str]:
        for key in _list(self._config.get("apiKeys"), "apiKeys"):
            if "${" in str(key):
                self._warn("apiKeys", f"put the value of {key} into FOREMAN_TOKEN, with all other tokens")
            else:
                yield str(key)

    def _peer(self, name: str, given: Any) -> Json:
        path = f"peers.{name}."
        fields = _table(given, path.rstrip("."))
        if not fields.get("proxy"):
            raise ValueError(f"{path}proxy is missing")
        target: Json = {"name": _UNFIT.sub("-", name)[:64], "openai_url": self._macros.text(str(fields["proxy"]))}
        if key := fields.get("apiKey"):
            text = self._macros.text(str(key))
            if ENVIRONMENT in text:
                self._warn(path + "apiKey", f"put the value of {key} into the target's token")
            else:
                target["token"] = text
        target["models"] = [str(model) for model in _list(fields.get("models"), path + "models")]
        self._leave_out(path, fields, {"proxy", "apiKey", "models"}, OF_MODEL)
        return target

    def _preloaded(self, models: Mapping[str, Any]) -> set[str]:
        hooks = _table(self._config.get("hooks"), "hooks")
        start = _table(hooks.get("on_startup"), "hooks.on_startup")
        wanted = {str(name) for name in _list(start.get("preload"), "hooks.on_startup.preload")}
        for name in sorted(wanted - {str(name) for name in models}):
            self._warn("hooks.on_startup.preload", f"there is no model {name}")
        self._leave_out("hooks.", hooks, {"on_startup"}, {})
        self._leave_out("hooks.on_startup.", start, {"preload"}, {})
        return wanted

    def _model(self, name: str, fields: Json, *, preload: bool) -> Json:
        path = f"models.{name}."
        own = _table(fields.get("macros"), path + "macros")
        macros = self._macros.beside(own)
        if not fields.get("cmd"):
            raise ValueError(f"{path}cmd is missing")
        model: Json = {"name": name, "command": words_of(str(fields["cmd"]), macros, path + "cmd")}
        if own:
            model["macros"] = macros.converted(own)
        if stop := fields.get("cmdStop"):
            model["stop_command"] = words_of(str(stop), macros, path + "cmdStop")
        if proxy := fields.get("proxy"):
            self._address(path, model, macros.text(str(proxy)))
        if check := fields.get("checkEndpoint"):
            if check == "none":
                self._warn(path + "checkEndpoint", "a server needs a path that answers 200: set `ready`")
            else:
                model["ready"] = macros.text(str(check))
        if (timeout := _number(self._config.get("healthCheckTimeout"), "healthCheckTimeout")) is not None:
            model["ready_timeout"] = max(LEAST_READY, timeout)
        if (ttl := self._ttl(path, fields)) > 0:
            model["ttl"] = ttl
        if served_as := fields.get("useModelName"):
            model["model"] = macros.text(str(served_as))
        if limit := _number(fields.get("concurrencyLimit"), path + "concurrencyLimit"):
            model["concurrency"] = min(MOST_AT_ONCE, limit)
        if aliases := list(self._aliases(path, _list(fields.get("aliases"), path + "aliases"))):
            model["aliases"] = aliases
        if env := dict(_variable(str(one), path) for one in _list(fields.get("env"), path + "env")):
            model["env"] = {key: macros.text(value) for key, value in env.items()}
        model |= self._filters(path + "filters.", _table(fields.get("filters"), path + "filters"), macros)
        if not EMBEDDING.isdisjoint(macros.every_word(model["command"])):
            model["embedding"] = True
        if preload:
            model["preload"] = True
        taken = {"macros", "cmd", "cmdStop", "proxy", "checkEndpoint", "ttl", "useModelName", "concurrencyLimit"}
        self._leave_out(path, fields, taken | {"aliases", "env", "filters"}, OF_MODEL)
        return model

    def _address(self, path: str, model: Json, proxy: str) -> None:
        """Set the port of a model, if it is not chosen by Foreman."""
        found = OWN_ADDRESS.fullmatch(proxy)
        if found is None:
            self._warn(
                path + "proxy", f"a managed model listens at 127.0.0.1; make {proxy} a target if it is elsewhere"
            )
        elif found[1] != PORT:
            model["port"] = int(found[1])

    def _ttl(self, path: str, fields: Json) -> float:
        own = _number(fields.get("ttl"), path + "ttl")
        return float(_number(self._config.get("globalTTL"), "globalTTL") or 0 if own is None or own < 0 else own)

    def _aliases(self, path: str, aliases: Sequence[Any]) -> Iterator[str]:
        for alias in aliases:
            if not isinstance(alias, Mapping):
                yield str(alias)
                continue
            if "id" not in alias:
                raise ValueError(f"{path}aliases must be names, or tables with an id")
            yield str(alias["id"])
            self._leave_out(f"{path}aliases.{alias['id']}.", alias, {"id"}, OF_MODEL)

    def _filters(self, path: str, filters: Json, macros: Macros) -> Json:
        model = Json()
        stripped = filters.get("stripParams") or filters.get("strip_params") or ""
        strip = [key for part in macros.text(str(stripped)).split(",") if (key := part.strip()) and key != "model"]
        given = _table(filters.get("setParams"), path + "setParams")
        values = {key: macros.value(value) for key, value in given.items() if key != "model"}
        for key in sorted(OWN_KEYS.intersection([*strip, *values])):
            self._warn(path.rstrip("."), f"{key} is set by Foreman")
        if strip := [key for key in strip if key not in OWN_KEYS]:
            model["strip"] = strip
        if values := {key: value for key, value in values.items() if key not in OWN_KEYS}:
            model["set"] = values
        self._leave_out(path, filters, {"stripParams", "strip_params", "setParams"}, OF_FILTERS)
        return model

    def _leave_out(self, path: str, fields: Mapping[str, Any], taken: set[str], known: Mapping[str, str]) -> None:
        """Warn of each field that is not `taken`, unless its value says nothing."""
        for name, value in fields.items():
            if name not in taken and (value or isinstance(value, float)):
                self._warn(f"{path}{name}", known.get(name, ""))

    def _warn(self, field: str, instead: str) -> None:
        self.warnings.append(f"{field} has no counterpart" + (f": {instead}" if instead else ""))


def _table(value: Any, path: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{path} must be a table")  # noqa: TRY004
    return {str(key): item for key, item in value.items()}


def _list(value: Any, path: str) -> Sequence[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{path} must be a list")  # noqa: TRY004
    return value


def _number(value: Any, path: str) -> int | float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{path} must be a number")
    return value


def _variable(text: str, path: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{path}env must be a list of NAME=value; given: {text}")
    return name, value
