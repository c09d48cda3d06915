"""What a setting may be: its type, its unit, and checks over several settings."""

from __future__ import annotations

import base64
import binascii
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from foreman.domain.errors import SettingInvalid

if TYPE_CHECKING:
    from foreman.config.settings import Settings

Value = TypeVar("Value")

_UNITS = {"": 1, "ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # of a token


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


def _read_slots(value: object) -> object:
    """Return 1 to 1,024 or AUTO. Raise ValueError for anything else."""
    text = value.strip() if isinstance(value, str) else value
    if text == AUTO:
        return AUTO
    number = int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 5 else text
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1024:
        raise ValueError('must be a whole number from 1 to 1,024, or "auto"')
    return number


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
            raise ValueError("must not contain a user name or password; use a token instead")
        if "?" in value or "#" in value:  # as above; it would not be sent either
            raise ValueError("must end with its path, without ? and #; use a token instead of a key in the address")
    return value.rstrip("/")


def _check_urls(value: str) -> str:
    return ",".join(_check_url(url.strip()) for url in value.split(",") if url.strip())


def _read_weights(value: object) -> object:
    """Return the weights of `alice=2, batch=0.5`; anything else as it is."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("must be such as alice=2,batch=0.5")
    return {name.strip(): weight.strip() for name, _, weight in pairs}


IN_DATABASE = "database"  # the blob_store without a folder


def check_token_names(table: dict[str, Value]) -> dict[str, Value]:
    """Raise ValueError unless each key may be the name of a token."""
    for name in table:
        if not _NAME.fullmatch(name):
            raise ValueError("each name must be that of a token: letters, digits and `_.-`, at most 64")
    return table


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


def _check_blob_store(value: str) -> str:
    if value != IN_DATABASE and not value.startswith("/"):
        raise ValueError(f"must be {IN_DATABASE}, or the absolute path of a folder")
    return value


def _check_database(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://, such as postgresql://USER:PASSWORD@HOST/NAME")
    return value


def _check_node(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be letters, digits and `_.-`, at most 64")
    return value


def host_name() -> str:
    """Return the host's name as that of a node."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname().partition(".")[0])[:64] or "foreman"


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
AUTO: Literal["auto"] = "auto"  # slots that find their own number
Several = Annotated[int, Field(ge=1, le=1024)]
Slots = Annotated[int | Literal["auto"], BeforeValidator(_read_slots)]
Url = Annotated[str, AfterValidator(_check_url)]
Urls = Annotated[str, AfterValidator(_check_urls)]  # separated by commas
Address = Annotated[str, AfterValidator(_check_addr)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database)]
BlobStore = Annotated[str, AfterValidator(_check_blob_store)]
NodeName = Annotated[str, AfterValidator(_check_node)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_commas)]
Weights = Annotated[
    dict[str, Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]],
    NoDecode,
    BeforeValidator(_read_weights),
    AfterValidator(check_token_names),
]  # by name of a token
Origins = Annotated[Words, AfterValidator(_check_origins)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_commas)]
SigningSecrets = Annotated[Secrets, AfterValidator(_check_secrets)]


def name_of(token: SecretStr) -> tuple[str, str]:
    """Return a token's name and secret: alice and SECRET for `alice:SECRET`, an empty name for a plain secret."""
    text = token.get_secret_value()
    name, _, secret = text.partition(":")
    return (name, secret) if secret and _NAME.fullmatch(name) else ("", text)


def check_together(settings: Settings) -> None:
    """Raise SettingInvalid for settings that exclude or need each other."""
    if not settings.only_loopback and not settings.token and not settings.insecure:
        raise SettingInvalid("addr", settings.addr, "a public address needs a token (or insecure = true)")
    if settings.private_jobs and (not settings.token or any(not name_of(token)[0] for token in settings.token)):
        raise SettingInvalid("private_jobs", True, 'needs tokens, each with a name, such as token = ["alice:SECRET"]')
    if settings.tls_key and not settings.tls_cert:
        raise SettingInvalid("tls_key", settings.tls_key, "needs tls_cert too")
