"""The address of a database, as `database_url` gives it."""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import conninfo_to_dict

from foreman.domain.errors import StoreRefused

# What the URL does not say otherwise. A dead server is noticed within 30 seconds, also while an answer is waited for.
_DEFAULTS: dict[str, object] = {
    "application_name": "foreman",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "keepalives_count": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "target_session_attrs": "read-write",
    "tcp_user_timeout": 20_000,
}


@dataclass(frozen=True)
class Address:
    """Where a database is. Its text shows no password."""

    shown: str
    prepare: bool  # False: no prepared statements, for poolers that do not know them
    parameters: dict[str, object] = field(repr=False)  # of libpq

    def __str__(self) -> str:
        return self.shown


def read_address(url: str) -> Address:
    """Return the address in a URL; its query may have `prepare=off` besides libpq's parameters. Raise StoreRefused."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise StoreRefused("database_url must begin with postgresql://: give postgresql://USER:PASSWORD@HOST/DATABASE")
    before, mark, query = url.partition("?")
    words = query.split("&")
    kept = "&".join(word for word in words if not word.startswith("prepare="))
    try:
        given = conninfo_to_dict(before + (mark if kept else "") + kept)
    except psycopg.Error:  # its text may have the password
        raise StoreRefused("database_url cannot be read: give postgresql://USER:PASSWORD@HOST/DATABASE") from None
    host = str(given.get("host") or given.get("hostaddr") or "the local socket")
    port = f":{given['port']}" if given.get("port") else ""
    return Address(
        f"{given.get('dbname') or 'the default database'} at {host}{port}",
        "prepare=off" not in words,
        _DEFAULTS | given,
    )
