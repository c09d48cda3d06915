"""The calls of Client about the service. Generated from async_service.py by `make generate`: do not edit."""

from __future__ import annotations

from foreman.client import operations, requests
from foreman.client.arguments import checks_arguments
from foreman.client.transport import Connection
from foreman.domain.views import Health, Me, Setting


@checks_arguments
class Service:
    """The service of one Foreman."""

    _connection: Connection

    def me(self) -> Me:
        """Return the name and rights of this client's token, and what is left of its quotas."""
        return self._connection.run(operations.ask(requests.me()))

    def settings(self) -> list[Setting]:
        """Return the settings in force, without secrets. Needs an admin token where one is set."""
        return self._connection.run(operations.ask(requests.settings())).settings

    def health(self) -> Health:
        """Return the liveness of Foreman and its target."""
        return self._connection.run(operations.ask(requests.health()))

    def ready(self) -> bool:
        """Return True if Foreman accepts jobs now."""
        return self._connection.run(operations.ready())
