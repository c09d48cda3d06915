"""The calls of AsyncClient about the service itself and its caller."""

from __future__ import annotations

from foreman.client import operations, requests
from foreman.client.arguments import checks_arguments
from foreman.client.transport import AsyncConnection
from foreman.domain.views import Health, Me, Setting


@checks_arguments
class AsyncService:
    """The service of one Foreman, on asyncio or Trio."""

    _connection: AsyncConnection

    async def me(self) -> Me:
        """Return the name and rights of this client's token, and what is left of its quotas."""
        return await self._connection.run(operations.ask(requests.me()))

    async def settings(self) -> list[Setting]:
        """Return the settings in force, without secrets. Needs an admin token where one is set."""
        return (await self._connection.run(operations.ask(requests.settings()))).settings

    async def health(self) -> Health:
        """Return the liveness of Foreman and its target."""
        return await self._connection.run(operations.ask(requests.health()))

    async def ready(self) -> bool:
        """Return True if Foreman accepts jobs now."""
        return await self._connection.run(operations.ready())
