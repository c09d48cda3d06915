"""Errors of callers: what they sent, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence

from foreman.domain.errors.base import ForemanError, as_json


class Misrouted(ForemanError):
    """No route matches the request, or the server rejected it before routing."""

    code = "misrouted"  # instances use the name of their status instead: not_found, method_not_allowed, …

    def __init__(self, status: int, name: str) -> None:
        super().__init__(name)
        self.status = status
        self.code = name.replace(" ", "_")


class BodyUnreadable(ForemanError):
    """The request body could not be received whole, or is compressed and damaged."""

    code = "body_unreadable"

    def __init__(self, why: str | None = None) -> None:
        super().__init__("failed to read request body")
        self.hint = why


class InvalidJson(ForemanError):
    """The request body is not a JSON object."""

    code = "invalid_json"

    def __init__(self, why: str | None = None) -> None:
        super().__init__("invalid JSON body")
        self.hint = why


class ModelRequired(ForemanError):
    """The request names no model."""

    code = "model_required"

    def __init__(self) -> None:
        super().__init__("model is required")


class FieldInvalid(ForemanError):
    """A field has a value that is not allowed; the error names the field and what it may be."""

    code = "field_invalid"

    def __init__(self, field: str, given: object, allowed: str, *, in_go: str | None = None) -> None:
        """Build the text; `in_go` is an Ollama server's own text for the same error, where known."""
        shown = given if isinstance(given, str) else as_json(given)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        super().__init__(f"{field}: {allowed}; given: {shown}")
        self.field = field
        self.in_go = in_go


class NotIndexed(ForemanError):
    """There is no index of words to search in."""

    code = "not_indexed"
    hint = "set full_text = true; on SQLite it needs a build with FTS5"

    def __init__(self) -> None:
        super().__init__("q: requests and answers are not indexed, so that words in them cannot be found")


class QueryInvalid(FieldInvalid):
    """A query parameter of the feed is invalid."""

    code = "query_invalid"


class RangeInvalid(FieldInvalid):
    """The requested range lies outside the artifact."""

    code = "requested_range_not_satisfiable"

    def __init__(self, given: str, size: int) -> None:
        super().__init__("Range", given, f"must be a range such as bytes=0-99 within the {size} bytes there are")
        self.size = size


class HeaderUnknown(ForemanError):
    """A request header has Foreman's prefix, but is not one of its headers."""

    code = "header_unknown"

    def __init__(self, given: str, meant: Sequence[str]) -> None:
        """Build the text; `given` is in lower case, as HTTP servers pass header names."""
        shown = given if len(given) <= 80 else given[:77] + "..."
        nearest = f"did you mean {meant[0]}?" if len(meant) == 1 else f"there are {', '.join(meant)}"
        super().__init__(f"{shown} is no request header of Foreman's: {nearest}")


class BodyTooLarge(ForemanError):
    """The request body exceeds the setting `max_body`."""

    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")
        self.hint = "the setting max_body raises the limit"


class WrongContentType(ForemanError):
    """The request body has an unsupported Content-Type."""

    code = "wrong_content_type"

    def __init__(self, given: str, allowed: str) -> None:
        super().__init__(f"Content-Type must be {allowed}; given: {given or 'none'}")


class WrongContentEncoding(ForemanError):
    """The body has an unsupported Content-Encoding, or several."""

    code = "wrong_content_encoding"

    def __init__(self, given: str, allowed: Sequence[str]) -> None:
        shown = given if len(given) <= 80 else given[:77] + "..."
        super().__init__(f"Content-Encoding must be {' or '.join([*allowed, 'identity'])}; given: {shown}")
        self.allowed = ", ".join([*allowed, "identity"])


class NotAcceptable(ForemanError):
    """The Accept header excludes every format of the answer."""

    code = "not_acceptable"

    def __init__(self, given: str, allowed: str) -> None:
        super().__init__(f"Accept must allow {allowed}; given: {given or 'none'}")


class IdempotencyMismatch(ForemanError):
    """The Idempotency-Key belongs to a job with another body."""

    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__("Idempotency-Key was already used with another body")


class Unauthorized(ForemanError):
    """The request has no valid token or ticket: send `Authorization: Bearer TOKEN` or `x-api-key: TOKEN`."""

    code = "unauthorized"

    def __init__(self, *, given: bool, ticket: bool = False, between_nodes: bool = False) -> None:
        text = "the token is not known here" if given else "a token is needed"
        super().__init__("the ticket is not known here, or no longer" if ticket else text)
        self.hint = "send Authorization: Bearer TOKEN, or x-api-key: TOKEN, with one of the tokens of the setting token"
        if between_nodes:
            self.args = ("this needs the signature of a node of this fleet",)
            self.hint = "nodes of one fleet have one database; they find each other by the setting advertise_url"


class AdminRequired(ForemanError):
    """The route needs an `admin_token`, with `private_jobs` even where none is set."""

    code = "admin_required"

    def __init__(self) -> None:
        super().__init__("this needs the admin token")
        self.hint = "send Authorization: Bearer TOKEN with one of the tokens of the setting admin_token"


class HostNotAllowed(ForemanError):
    """The Host header is not a name of this server (`allowed_hosts`): a web page may be rebinding DNS."""

    code = "host_not_allowed"

    def __init__(self, host: str) -> None:
        super().__init__(f"host {host[:100]!r} is not served here")
        self.hint = "add it to the setting allowed_hosts"


class OriginNotAllowed(ForemanError):
    """A web page of another site sent the request through a user's browser; `cors_origins` lists those that may."""

    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"web pages of {origin[:100]!r} may not use this server")
        self.hint = "add it to the setting cors_origins"
