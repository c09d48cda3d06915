"""Requests for an answer, sent again without the fields that a server refuses or after a doubtful server error."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TypeAlias

import trio

from foreman.domain.answers.decoder import Decoder
from foreman.domain.answers.refusals import message_in
from foreman.domain.endpoints import at
from foreman.domain.endpoints.question import Question
from foreman.domain.errors import TargetError, TargetFailed, TargetRefused
from foreman.offload import offload
from foreman.targets.chunks import Chunks, Decoding, error_in
from foreman.targets.http.connection import Response
from foreman.targets.http.pool import Client, Request

AT_ONCE = 1.0  # seconds; an error that comes so soon is about the request, not about the inference
PAUSE = 0.1  # seconds before a request with such an error is sent again
KNOWN = 1024  # pairs of model and endpoint remembered for each server
LESSONS = 16  # refusals remembered for each pair

REFUSING = frozenset({400, 403, 405, 406, 415, 422, 500, 501})
_CANNOT = re.compile(  # separates the refusal of a stream from a broken one, where the status does not
    r"cannot|can't|can not|n't support|unsupported|only|must|forbidden|incompatible|unexpected|unknown|unrecogni|extra"
    r"|invalid|disabled|not (?:supported|support|available|allowed|enabled|implemented|permitted|possible)",
    re.IGNORECASE,
)
_UNNAMED = re.compile(
    r"extra.?(?:forbidden|inputs|fields)|additional.?propert|not permitted"
    r"|(?:unknown|unrecogni[sz]ed|unexpected) (?:\w+ )?(?:field|param|argument|propert|key)",
    re.IGNORECASE,
)
_TEMPORARY = re.compile(  # in the message of an error that may be gone the next time
    r"\b(?:again|retry|later|temporar|overload|busy|capacity|unavailable|time[d -]*out|memory|(?:is|still) loading)",
    re.IGNORECASE,
)
_WORDS = {
    "stream_options": ("stream_options", "include_usage"),
    "chat_template_kwargs": ("chat_template_kwargs", "enable_thinking"),
}
_EMPTY_MESSAGES = frozenset({"", "internal server error", "internal error"})


DecodingFor: TypeAlias = Callable[[Decoder], Decoding]


class Asking:
    """A context manager that sends a question and gives the chunks of its answer.

    Entering it raises a TargetError when the server answers with an error. A field that Foreman added and the server
    refuses is left out of a second request and of later ones. After an immediate 5xx with a message of its own the
    request is sent once more: the same message again is final (TargetRefused).
    """

    def __init__(
        self,
        client: Client,
        question: Question,
        refusals: Refusals,
        *,
        model: str,
        heard: Callable[[], None],
        took: Callable[[int], None],
        decoding_for: DecodingFor | None = None,
        ended: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        """Send `question` to a server.

        `heard` is called whenever bytes of the answer come, `took` with the size in bytes of each piece of its body,
        `ended` with the exception that ended a request, or None. `decoding_for` replaces the decoder.
        """
        self._client = client
        self._question = question
        self._endpoint = at(question.endpoint)
        self._refusals = refusals
        self._model = model
        self._heard = heard
        self._took = took
        self._decoding_for = decoding_for
        self._ended = ended
        self._request: Request | None = None
        self._chunks: Chunks | None = None

    async def __aenter__(self) -> Chunks:
        question = self._question
        left_out = self._refusals.known(self._model, question)
        learnt: dict[str, frozenset[str]] = {}
        before = ""
        while True:
            asked_at = trio.current_time()
            try:
                self._chunks = await self._ask(question.payload(left_out))
            except TargetError as error:
                message = lasting_message(error) if trio.current_time() - asked_at < AT_ONCE else ""
                if name := refused(error, [name for name in question.additions if name not in left_out]):
                    learnt[name] = named_in(error, question)
                    left_out |= question.given_up(name)
                elif message and message == before:
                    raise TargetRefused(error.status, message) from None
                elif message and not before:
                    before = message
                    await trio.sleep(PAUSE)
                else:
                    raise
            else:
                for name, beside in learnt.items():
                    self._refusals.learn(self._model, question.endpoint, name, beside)
                return self._chunks

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self._chunks is not None and self._chunks.closed:
                await self._chunks.finish()
        finally:
            self._end(error)

    async def _ask(self, payload: bytes) -> Chunks:
        """Post the payload and return the chunks once the server has begun to answer."""
        self._request = self._client.request("POST", self._endpoint.path, payload, heard=self._heard)
        try:
            return await self._begin(await self._request.__aenter__(), payload)
        except BaseException as error:
            self._end(error)
            raise

    async def _begin(self, response: Response, payload: bytes) -> Chunks:
        endpoint, name = self._endpoint, self._client.name
        if not 200 <= response.status < 300:
            raise await error_in(self._client, response)
        media = response.headers.get("content-type", "")
        parser = endpoint.parser(media, sized=response.sized, target=name)
        decoder = endpoint.decoder(name, choices=await offload(len(payload), endpoint.choices, payload))
        decoding = self._decoding_for(decoder) if self._decoding_for else decoder
        return Chunks(response, parser, decoding, name, self._took)

    def _end(self, error: BaseException | None) -> None:
        assert self._request is not None
        self._request.leave()
        if self._ended is not None:
            self._ended(error)


class Refusals:
    """The additions that one server is known to refuse, by model and endpoint.

    Each refusal applies beside certain fields of the caller. The least recently used entry is forgotten first.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], list[tuple[str, frozenset[str]]]] = OrderedDict()

    def known(self, model: str, question: Question) -> frozenset[str]:
        """Return the additions to leave out of this question."""
        place = model, question.endpoint
        if place not in self._known:
            return frozenset()
        self._known.move_to_end(place)
        names = {name for name, beside in self._known[place] if beside <= question.fields.keys()}
        return frozenset().union(*map(question.given_up, names))

    def learn(self, model: str, endpoint: str, name: str, beside: frozenset[str]) -> None:
        """Remember that the server refuses `name` in requests that have all fields of `beside`."""
        lessons = self._known.setdefault((model, endpoint), [])
        if (name, beside) not in lessons:
            lessons.append((name, beside))
            del lessons[:-LESSONS]
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)


def refused(error: TargetError, additions: Collection[str]) -> str | None:
    """Return the addition that an error is about; None if it is about something else."""
    if error.status not in REFUSING or not additions:
        return None
    text = error.body.decode("utf-8", "replace")
    if error.status == 500 and not _CANNOT.search(text):
        return None
    if named := next(
        (name for name in additions if any(_names(word, text) for word in _WORDS.get(name, [name]))), None
    ):
        return named
    return next(iter(additions)) if error.status in (400, 422) and _UNNAMED.search(text) else None


def named_in(error: TargetError, question: Question) -> frozenset[str]:
    """Return the caller's fields that a refusal names: `tools` for "cannot use tools with stream"."""
    text = error.body.decode("utf-8", "replace")
    return frozenset(name for name in question.fields if name not in question.additions and _names(name, text))


def lasting_message(error: TargetError) -> str:
    """Return the JSON message of a 5xx that is about the request; empty when the error looks temporary."""
    if not isinstance(error, TargetFailed) or error.retry_after is not None or not error.body.lstrip().startswith(b"{"):
        return ""
    if not 500 <= error.status < 512 or error.status in (502, 504):
        return ""
    message = message_in(error.body)
    return "" if _TEMPORARY.search(message) or message.lower().rstrip(".") in _EMPTY_MESSAGES else message


def _names(name: str, text: str) -> bool:
    """Return True if `text` has the word `name`, in singular or plural, snake or camel case."""
    stem = re.escape(name.removesuffix("s")).replace("_", "_?")
    return re.search(rf"(?<![a-z0-9_]){stem}(?:s|ing|ed|able)?(?![a-z0-9_])", text, re.IGNORECASE) is not None
