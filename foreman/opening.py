"""The opening of the store that the settings name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ulid import ULID

from foreman import __version__
from foreman.config.settings import HIDDEN, Settings
from foreman.domain.errors import SettingInvalid
from foreman.store import folder
from foreman.store.protocol import Engine
from foreman.store.sqlite.writer import SqliteWriter


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """Open the store: PostgreSQL at `database_url`, else SQLite in `data_dir`.

    Raises:
        StoreRefused: It cannot be used.
        SettingInvalid: The driver of PostgreSQL is missing.
    """
    if not settings.node:
        with closing(SqliteWriter(settings.data_dir / "foreman.db")) as store:
            yield store
        return
    lock = folder.hold(settings.data_dir)  # two processes with one identity would evict each other for ever
    try:
        with closing(_joined(settings)) as store:
            yield store
    finally:
        os.close(lock)


def _joined(settings: Settings) -> Engine:
    try:
        from foreman.store.postgres.nodes import Identity
        from foreman.store.postgres.writer import PostgresWriter
    except ImportError as error:
        why = f"needs a driver ({error}): pip install 'foreman-llm[postgres]'"
        raise SettingInvalid("database_url", HIDDEN, why) from error
    identity = Identity(
        id=folder.identity(settings.data_dir, str(ULID())),
        name=settings.node,
        version=__version__,
        url=settings.advertised,
    )
    return PostgresWriter(settings.database_url.get_secret_value(), identity, settings.blob_folder)
