"""The settings: one flat record, read once at start."""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from foreman.domain.errors import SettingInvalid

PREFIX = "FOREMAN_"
HIDDEN = "***"  # shown in place of a secret
DEFAULT_FILE = Path("config/foreman.toml")
NOT_SETTINGS = {"FOREMAN_CONFIG", "FOREMAN_URL", "FOREMAN_ENGINE_KEY", "FOREMAN_ENGINE_OF"}  # read elsewhere

_UNITS = {"": 1, "ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def _scaled(scale: Mapping[str, float], example: str) -> BeforeValidator:
    def read(value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(f"must be a number or text like {example!r}")  # noqa: TRY004 pydantic wants a ValueError
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
        if not match or match[2].lower() not in scale:
            raise ValueError(f"must be a number or text like {example!r}")
        return float(match[1]) * scale[match[2].lower()]

    return BeforeValidator(read)


def _commas(value: object) -> object:
    """Split text at commas, or at newlines as in a file of secrets."""
    return [part.strip() for part in re.split(r"[,\n]", value) if part.strip()] if isinstance(value, str) else value


def _check_url(value: str) -> str:
    if value:
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            meant = "" if "://" in value else f"; did you mean http://{value}?"
            raise ValueError(f"must be an http:// or https:// address{meant}")
        if "@" in parts.netloc:  # logs and answers show the address
            raise ValueError("must not contain a user name or password; use ollama_token or openai_token instead")
    return value.rstrip("/")


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s@?#]+/?", origin, re.IGNORECASE):
            raise ValueError("each must be an origin such as https://chat.example.org, or *")
    return origins


def _check_addr(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT or :PORT")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must be [IPv6]:PORT")
    return value


def _check_secrets(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in secrets:
        text = secret.get_secret_value()
        if text.startswith("whsec_"):
            try:
                base64.b64decode(text[6:] + "=" * (-len(text[6:]) % 4), validate=True)
            except binascii.Error:
                raise ValueError("a secret that begins with whsec_ must go on in base64") from None
    return secrets


Seconds = Annotated[float, _scaled(_UNITS, "10 min"), Field(ge=0, le=10 * 365 * 86400, allow_inf_nan=False)]
PositiveSeconds = Annotated[Seconds, Field(gt=0)]
Size = Annotated[int, _scaled(_SIZES, "64 MiB"), Field(ge=1)]
Url = Annotated[str, AfterValidator(_check_url)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_commas)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_commas)]


class ManagedModel(BaseModel):
    """A model whose server is started, checked, swapped and stopped by Foreman."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    command: list[str] = Field(min_length=1)  # {port}, {model}, {slots} and {key} are filled in
    model: str | None = None  # the value of {model}; default: the name
    slots: int = Field(1, ge=1, le=1024)  # the value of {slots}
    ttl: Seconds = 0  # idle seconds until it is unloaded; 0: stays loaded
    ready: str = "/health"  # answers 200 once the model can be used
    ready_timeout: PositiveSeconds = 600
    liveness_timeout: PositiveSeconds = 20  # a server that answers neither calls nor `ready` for so long is killed
    env: dict[str, str] = {}
    aliases: list[str] = []
    context: Annotated[int, Field(ge=1)] | None = None  # tokens per call, shown to callers; None: unknown
    embedding: bool = False  # serves embeddings, loaded beside other models, even one of the same name


class Settings(BaseSettings):
    """All settings in force. Times are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_file_encoding="utf-8")

    addr: Annotated[str, AfterValidator(_check_addr)] = "127.0.0.1:8080"
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("foreman", appauthor=False)))

    ollama_url: Url = ""
    ollama_token: SecretStr = SecretStr("")
    openai_url: Url = ""
    openai_token: SecretStr = SecretStr("")
    models: list[ManagedModel] = []

    token: Secrets = ()
    admin_token: Secrets = ()
    private_jobs: bool = False
    rate: int = Field(0, ge=0, le=1_000_000)  # per minute; 0: unlimited
    rate_burst: int = Field(0, ge=0, le=1_000_000)  # 0: same as rate
    insecure: bool = False
    tls_cert: str = ""  # a path
    tls_key: str = ""
    allowed_hosts: Words = ()
    cors_origins: Annotated[Words, AfterValidator(_check_origins)] = ()
    max_connections: int = Field(1024, ge=1, le=1_000_000)
    idle_timeout: PositiveSeconds = 75
    body_timeout: PositiveSeconds = 60
    send_timeout: PositiveSeconds = 60

    slots: int = Field(1, ge=1, le=1024)
    max_queue: int = Field(100_000, ge=1)
    max_body: Size = 64 * 2**20
    max_answer: Size = 64 * 2**20
    memory: Size = 512 * 2**20

    max_attempts: int = Field(3, ge=1, le=20)
    retry_backoff: PositiveSeconds = 2
    retry_backoff_max: PositiveSeconds = 300
    attempt_timeout: PositiveSeconds = 3600
    first_chunk_timeout: PositiveSeconds = 600
    stall_timeout: PositiveSeconds = 120
    starvation_limit: PositiveSeconds = 600
    share: float = Field(0.1, ge=0, le=0.4, allow_inf_nan=False)

    keep_alive: str | int = ""
    load_timeout: PositiveSeconds = 180
    embed_model: str = ""
    embed_concurrency: int = Field(8, ge=1, le=1024)
    poll_interval: PositiveSeconds = 30

    job_ttl: Seconds = 7 * 86400
    usage_history: Seconds = 400 * 86400
    artifact_inline_limit: Size = 262_144

    webhook_secret: Annotated[Secrets, AfterValidator(_check_secrets)] = ()
    webhook_timeout: PositiveSeconds = 15
    webhook_retries: int = Field(5, ge=0, le=50)
    webhook_backoff: PositiveSeconds = 5
    webhook_backoff_max: PositiveSeconds = 600
    webhook_concurrency: int = Field(32, ge=1, le=1024)
    webhook_per_receiver: int = Field(4, ge=1, le=256)
    webhook_allow: Words = ()

    feed_history: int = Field(10_000, ge=100, le=10_000_000)

    shutdown_grace: Seconds = 30
    log_format: Literal["", "console", "json"] = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def host(self) -> str:
        """Return the address to bind; 0.0.0.0 if `addr` has only a port."""
        return self.addr.rpartition(":")[0].strip("[]") or "0.0.0.0"

    @property
    def target_kind(self) -> str:
        """Return the kind of target: ollama, openai or managed."""
        return "ollama" if self.ollama_url else "openai" if self.openai_url else "managed"

    @property
    def port(self) -> int:
        """Return the port to bind; 0 means a free one."""
        return int(self.addr.rpartition(":")[2])

    @property
    def only_loopback(self) -> bool:
        """Return True when only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

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


def name_of(token: SecretStr) -> tuple[str, str]:
    """Return a token's name and secret: alice and SECRET for `alice:SECRET`, an empty name for a plain secret."""
    text = token.get_secret_value()
    name, _, secret = text.partition(":")
    return (name, secret) if secret and _NAME.fullmatch(name) else ("", text)


_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


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


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from all sources.

    `config` is a TOML file; the default is FOREMAN_CONFIG, then config/foreman.toml if it exists.

    Raises:
        SettingInvalid: The text is one line with the setting, the given and the allowed value.
    """
    if config is None and (named := os.environ.get("FOREMAN_CONFIG")):
        config = Path(named)
    if config is not None and not config.is_file():
        raise SettingInvalid("config", str(config), "must be a TOML file that exists")
    chosen = config or DEFAULT_FILE
    _refuse_unknown_variables()

    class Sourced(Settings):
        model_config = SettingsConfigDict(toml_file=chosen, env_file=".env")

    try:
        settings = Sourced(**dict(flags or {}))
    except ValidationError as error:
        raise _in_one_line(error) from None
    except SettingsError as error:  # malformed JSON for a list of tables in the environment
        (name,) = re.findall(r'field "(\w+)"', str(error)) or ["environment"]
        raise SettingInvalid(name, HIDDEN, "must be valid JSON in the environment") from error
    except ValueError as error:  # a TOML syntax error
        raise SettingInvalid("config", str(chosen), f"must be valid TOML ({error})") from error
    _check_together(settings)
    return settings


def _refuse_unknown_variables() -> None:
    known = {f"{PREFIX}{name.upper()}": field for name, field in Settings.model_fields.items()}
    allowed = NOT_SETTINGS | set(known) | {f"{name}_FILE" for name, field in known.items() if _is_secret(field)}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in allowed:
            raise SettingInvalid(variable, os.environ[variable], f"there is no such setting{_nearest(variable, known)}")


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else "; `foreman config` lists them"


def _in_one_line(error: ValidationError) -> SettingInvalid:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "config"
    if first["type"] == "extra_forbidden":
        return SettingInvalid(name, first["input"], f"there is no such setting{_nearest(name, Settings.model_fields)}")
    given = HIDDEN if "token" in name or "secret" in name else first["input"]
    if isinstance(given, Mapping):  # a table may hold secrets
        given = list(given)
    if isinstance(given, str):
        given = re.sub(r"//[^/]*@", "//***@", given)
    limits = first.get("ctx", {})
    allowed = _ALLOWED[first["type"]].format(**limits) if first["type"] in _ALLOWED else first["msg"]
    return SettingInvalid(name, given, allowed.removeprefix("Value error, "))


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


def _check_together(settings: Settings) -> None:
    targets = [name for name in ("ollama_url", "openai_url", "models") if getattr(settings, name)]
    if len(targets) > 1:
        raise SettingInvalid(targets[1], targets, "set only one of ollama_url, openai_url and models")
    if not settings.only_loopback and not settings.token and not settings.insecure:
        raise SettingInvalid("addr", settings.addr, "a public address needs a token (or insecure = true)")
    if settings.private_jobs and (not settings.token or any(not name_of(token)[0] for token in settings.token)):
        raise SettingInvalid("private_jobs", True, 'needs tokens, each with a name, such as token = ["alice:SECRET"]')
    if settings.tls_key and not settings.tls_cert:
        raise SettingInvalid("tls_key", settings.tls_key, "needs tls_cert too")
    named = [(name, model) for model in settings.models for name in (model.name, *model.aliases)]
    kinds = [(name, model.embedding) for name, model in named]
    owners = {(name, model.name) for name, model in named}
    doubled = {name for name, model in named if kinds.count((name, model.embedding)) > 1}
    doubled |= {name for name, _ in named if sum(name == owned for owned, _ in owners) > 1}
    if doubled:
        raise SettingInvalid(
            "models", sorted(doubled), "names and aliases must be unique; only an embedding model may share a name"
        )
