"""What a server sent and cannot be read, told as an error of the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from foreman.client.errors import AnswerTooLarge, NotForeman
from foreman.client.reading import TooMuch


@contextmanager
def told_unreadable(url: str, what: str) -> Iterator[None]:
    """Raise AnswerTooLarge or NotForeman where `what`, sent by the server at `url`, cannot be decoded."""
    try:
        yield
    except TooMuch as error:
        raise AnswerTooLarge(url, str(error)) from None
    except msgspec.ValidationError:
        raise NotForeman(url, f"{what} is JSON of another shape") from None
    except msgspec.DecodeError:
        raise NotForeman(url, f"{what} is not JSON") from None
