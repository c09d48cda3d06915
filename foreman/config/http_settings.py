"""The settings of the HTTP server: who may reach it, and its limits."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from foreman.config.checks import Address, Origins, PositiveSeconds, Secrets, Words

AT_START: dict[str, JsonValue] = {"reloads": False}  # beside a setting that is read at the start only


class HttpSettings(BaseModel):
    """The settings of the HTTP server. Times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addr: Address = Field(
        json_schema_extra=AT_START,
        default="127.0.0.1:8080",
        description="Address to listen on, `HOST:PORT`; `:PORT` is all IPv4 addresses. Port 0 takes a free one, which "
        "the first log lines name. An address other than loopback needs a `token`, or `insecure`.",
    )
    token: Secrets = Field(
        default=(),
        description="API tokens of callers; prefer `FOREMAN_TOKEN` or `FOREMAN_TOKEN_FILE`. Without one, every "
        "program that reaches the address has access. A token written `alice:SECRET` belongs to alice, and so do the "
        "jobs that she submits (`owner`). A file may have one on each line.",
    )
    admin_token: Secrets = Field(
        default=(),
        description="API tokens that may pause the queue, change others' jobs or models, and read `/metrics`. Others' "
        "jobs are those that another token has submitted; the routes for models are an Ollama server's `/api/pull` "
        "and so on. An admin token opens all other routes too. Without one, no route needs more than `token`.",
    )
    private_jobs: bool = Field(
        default=False,
        description="Callers see and change only [their own jobs](security.md#private-jobs); the admin sees all. Each "
        "`token` then needs a name.",
    )
    rate: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0,
        description="Jobs and calls per caller and minute; 0 is no limit. A caller is the name of a token, or all "
        "without one together. Each request to submit, to retry or to call a model counts, of NDJSON each line. More "
        "are answered 429 `rate_limited` with `Retry-After`; of NDJSON, the lines before are stored.",
    )
    rate_burst: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0,
        description="Jobs and calls of a caller at once after a pause; 0 is the same as `rate`. A request with "
        "thousands of lines needs as many.",
    )
    insecure: bool = Field(
        default=False,
        description="Allow a public address without a token. Every program that reaches it can use your models.",
    )
    tls_cert: str = Field(
        json_schema_extra=AT_START,
        default="",
        description="Serve HTTPS with this certificate chain, a PEM file. It is read at the start, so a renewed one "
        "needs a restart. `SSL_CERT_FILE` makes `foreman` and Python's clients trust a certificate of your own "
        "making.",
    )
    tls_key: str = Field(
        json_schema_extra=AT_START, default="", description="Private key of the certificate, if in a separate PEM file."
    )
    allowed_hosts: Words = Field(
        default=(),
        description="Host names to accept besides those of the loopback, `addr` and `advertise_url`, such as that of a "
        "reverse proxy. "
        "IP addresses, `localhost`, `host.docker.internal` and `host.containers.internal` are always accepted. Where "
        "`addr` is all addresses, so is the machine's own name (also with `.local`).",
    )
    cors_origins: Origins = Field(
        default=(),
        description="Origins of web pages that may use Foreman, such as `https://chat.example.org`; `*` is all. "
        "Requests from pages of other sites are answered 403 on every route, the feed included. [Local "
        "origins](security.md#origins-and-hosts) are always allowed.",
    )
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        json_schema_extra=AT_START,
        default=1024,
        description="Client connections open at once; more are answered 503 with `Retry-After`. There are fewer, with "
        "a warning at the start, where the system allows fewer than 512 open files more than that.",
    )
    idle_timeout: PositiveSeconds = Field(
        json_schema_extra=AT_START,
        default=75,
        description="Timeout between two requests of a connection, and for a request head or a TLS handshake. The "
        "connection is then closed.",
    )
    body_timeout: PositiveSeconds = Field(
        json_schema_extra=AT_START, default=60, description="Timeout for a request body; then 408."
    )
    send_timeout: PositiveSeconds = Field(
        json_schema_extra=AT_START,
        default=60,
        description="Timeout for a client to read each 64 KiB of an answer. Its connection is then closed. During the "
        "shutdown it is 2 s.",
    )
    http_parser: Literal["httptools", "h11"] = Field(
        json_schema_extra=AT_START,
        default="httptools",
        description="Library that reads HTTP/1 requests. `h11` is slower, and goes away in the next release.",
    )

    @property
    def host(self) -> str:
        """Return the address to bind; 0.0.0.0 if `addr` has only a port."""
        return self.addr.rpartition(":")[0].strip("[]") or "0.0.0.0"

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
