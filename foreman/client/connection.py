"""One Foreman, asked over HTTP: every way in which that fails becomes a ClientFault."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx2

from foreman.client import requests
from foreman.client.faults import ConnectFailed
from foreman.client.requests import Ask

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0  # seconds
STREAM_SILENCE = 60.0  # seconds; Foreman sends a comment far more often than that


class Connection:
    """May be shared by threads. `timeout` is the longest wait for one answer, in seconds."""

    def __init__(self, url: str | None, token: str | None, *, timeout: float) -> None:
        address = requests.address(url, token)
        self.url = address.url
        try:
            self._http = httpx2.Client(
                base_url=address.url,
                headers=address.headers,
                timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
                trust_env=False,  # proxies of the environment are not for prompts
                verify=_trusted() if address.url.startswith("https:") else False,
            )
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise ConnectFailed(self.url, f"not an address ({error})") from None

    def close(self) -> None:
        self._http.close()

    def ask(self, ask: Ask[T]) -> T:
        """What Foreman answers. Raises a ClientFault."""
        with self._faults():
            response = self._http.request(
                ask.method, ask.path, params=ask.params, headers=ask.headers, content=ask.body
            )
        return requests.read(ask, self.url, response.status_code, response.headers, response.content)

    @contextmanager
    def streaming(self, ask: Ask[Any]) -> Iterator[httpx2.Response]:
        """An answer that is read as it comes; reading it raises a ConnectFailed when it breaks off."""
        timeout = httpx2.Timeout(STREAM_SILENCE, connect=CONNECT_TIMEOUT)
        with (
            self._faults(),
            self._http.stream(
                ask.method, ask.path, params=ask.params, headers=ask.headers, timeout=timeout
            ) as response,
        ):
            if response.status_code != 200:
                raise requests.fault(self.url, response.status_code, response.headers, response.read())
            yield response

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except httpx2.ConnectError as error:
            raise ConnectFailed(self.url, "" if "refused" in str(error) else str(error)) from None
        except httpx2.TimeoutException:
            raise ConnectFailed(self.url, "no answer in time") from None
        except httpx2.TransportError as error:
            raise ConnectFailed(self.url, str(error) or type(error).__name__) from None


def _trusted() -> ssl.SSLContext:
    """The system's authorities, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()
