"""Errors of responses: reading, continuing and cancelling them."""

from __future__ import annotations

from foreman.domain.errors.base import ForemanError

MOST_SHOWN = 80  # characters of an id


class ResponseNotFound(ForemanError):
    """The response does not exist, was not stored, or the caller may not see it."""

    code = "response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id '{response_id[:MOST_SHOWN]}' not found.")


class ResponseNotInBackground(ForemanError):
    """Only a response made with `background: true` can be cancelled; others end when their caller leaves."""

    code = "response_not_in_background"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"{response_id} cannot be cancelled: it was not made with background: true")


class PreviousResponseError(ForemanError):
    """The response that a request continues cannot be continued."""

    field = "previous_response_id"


class PreviousResponseNotFound(PreviousResponseError):
    """The response named in `previous_response_id` does not exist, was not stored, or is another caller's."""

    code = "previous_response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Previous response with id '{response_id[:MOST_SHOWN]}' not found.")


class PreviousResponseUnusable(PreviousResponseError):
    """The response named in `previous_response_id` has no answer: it has not ended, failed or was cancelled."""

    code = "previous_response_unusable"

    def __init__(self, response_id: str, status: str) -> None:
        super().__init__(f"Previous response with id '{response_id}' has no answer to continue: it is {status}.")


class ConversationTooLong(PreviousResponseError):
    """A request and the responses before it are larger than the setting `max_body`, or have too many items."""

    code = "conversation_too_long"

    def __init__(self, size: str, most: str) -> None:
        super().__init__(f"the conversation has {size}, and may have {most}")
        self.hint = "begin a new one without previous_response_id; the setting max_body raises the limit of bytes"
