"""/nodes of a Foreman that has its queue for itself; several are tested on PostgreSQL."""

from __future__ import annotations

from tests.http.conftest import StartApi
