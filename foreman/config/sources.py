"""Where settings come from: flags, the environment, secret files, .env and a TOML file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from foreman.config.checks import check_together
from foreman.config.cost_settings import CostSettings
from foreman.config.managed_checks import check_models
from foreman.config.managed_model import ManagedModel
from foreman.config.origins import PREFIX as PREFIX
from foreman.config.origins import origins_of
from foreman.config.quota_settings import QuotaSettings
from foreman.config.settings import HIDDEN, Settings
from foreman.config.target_settings import TargetSettings, check_targets
from foreman.domain.errors import SettingInvalid

DEFAULT_FILE = Path("config/foreman.toml")
NOT_SETTINGS = {"FOREMAN_CONFIG", "FOREMAN_URL", "FOREMAN_ENGINE_KEY", "FOREMAN_ENGINE_OF"}  # read elsewhere


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from all sources.

    `config` is a TOML file; the default is FOREMAN_CONFIG, then config/foreman.toml if it exists.

    Raises:
        SettingInvalid: The text is one line with the setting, the given and the allowed value.
    """
    config = config or _named()
    if config is not None and not config.is_file():
        raise SettingInvalid("config", str(config), "must be a TOML file that exists")
    chosen = config or DEFAULT_FILE
    _refuse_unknown_variables()

    class Sourced(_Sourced):
        model_config = SettingsConfigDict(toml_file=chosen)

    try:
        settings = Sourced(**dict(flags or {}))
    except ValidationError as error:
        raise _in_one_line(error) from None
    except SettingsError as error:  # malformed JSON for a list of tables in the environment
        (name,) = re.findall(r'field "(\w+)"', str(error)) or ["environment"]
        raise SettingInvalid(name, HIDDEN, "must be valid JSON in the environment") from error
    except (ValueError, RecursionError) as error:  # a TOML syntax error, or thousands of tables within each other
        raise SettingInvalid("config", str(chosen), f"must be valid TOML ({error})") from error
    except OSError as error:
        raise SettingInvalid("config", str(chosen), f"must be a readable file ({error.strerror})") from error
    check_together(settings)
    check_targets(settings)
    check_models(settings)
    file = chosen if chosen.is_file() else None
    return settings.from_sources(origins_of(Settings.model_fields, dict(flags or {}), file))


def rereading(config: Path | None, flags: Mapping[str, Any] | None = None) -> Callable[[], Settings]:
    """Return a function that loads the settings again, from a file that must still exist if it does now."""
    return partial(load, config or (DEFAULT_FILE if _named() is None and DEFAULT_FILE.is_file() else None), flags)


def _named() -> Path | None:
    named = os.environ.get("FOREMAN_CONFIG")
    return Path(named) if named else None


class _Sourced(Settings, BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_file=".env", env_file_encoding="utf-8"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by precedence: flags, FOREMAN_…, FOREMAN_…_FILE, .env, the TOML file."""
        toml = TomlConfigSettingsSource(settings_cls, settings_cls.model_config.get("toml_file"))
        if isinstance(dotenv_settings, EnvSettingsSource):  # .env may also serve other programs
            dotenv_settings.env_vars = _ours(dotenv_settings.env_vars)
        return init_settings, env_settings, _SecretFiles(settings_cls), dotenv_settings, toml


def _ours(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    others = {name.lower() for name in NOT_SETTINGS}
    return {name: v for name, v in variables.items() if name.startswith(PREFIX.lower()) and name not in others}


class _SecretFiles(EnvSettingsSource):
    """A settings source for secrets in files: `FOREMAN_TOKEN_FILE=/run/secrets/token` sets `token`."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
            if path and _is_secret(field):
                try:
                    found[name] = Path(path).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
                    raise SettingInvalid(f"{name}_file", path, f"must be a readable text file ({why})") from error
        return found


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _refuse_unknown_variables() -> None:
    known = {f"{PREFIX}{name.upper()}": field for name, field in Settings.model_fields.items()}
    allowed = NOT_SETTINGS | set(known) | {f"{name}_FILE" for name, field in known.items() if _is_secret(field)}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in allowed:
            raise SettingInvalid(variable, os.environ[variable], f"there is no such setting{_nearest(variable, known)}")


def _nearest(name: str, known: Mapping[str, object], others: str = "`foreman config` lists them") -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else f"; {others}"


def _nearest_in(loc: tuple[int | str, ...]) -> str:
    """Return what may have been meant by the unknown key at `loc`, in a table of the list or of the names `loc[0]`."""
    keys = _TABLES[str(loc[0])].model_fields if len(loc) > 1 and loc[0] in _TABLES else None
    return (
        _nearest(str(loc[-1]), keys, f"allowed: {', '.join(keys)}")
        if keys
        else _nearest(str(loc[0]), Settings.model_fields)
    )


def _in_one_line(error: ValidationError) -> SettingInvalid:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "config"
    if first["type"] == "extra_forbidden":
        return SettingInvalid(name, first["input"], f"there is no such setting{_nearest_in(first['loc'])}")
    given = HIDDEN if "token" in name or "secret" in name or ".env" in name else first["input"]
    if isinstance(given, Mapping):  # a table may hold secrets
        given = list(given)
    if isinstance(given, str):
        given = re.sub(r"(://[^?]*\?).*", r"\1***", re.sub(r"//[^/]*@", "//***@", given))
    limits = first.get("ctx", {})
    allowed = _ALLOWED[first["type"]].format(**limits) if first["type"] in _ALLOWED else first["msg"]
    return SettingInvalid(name, given, allowed.removeprefix("Value error, "))


_TABLES: Mapping[str, type[BaseModel]] = {
    "targets": TargetSettings,
    "models": ManagedModel,
    "quotas": QuotaSettings,
    "cost": CostSettings,
}

_ALLOWED = {  # Foreman's own texts by Pydantic's error type
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must have {min_length} or more characters",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must have {min_length} or more entries",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "missing": "must be given",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "path_type": "must be a path",
}
