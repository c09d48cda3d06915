"""The check of a batch's input: all its lines become jobs, or none."""

from __future__ import annotations

from hashlib import blake2b

from foreman.domain.batch_input import LineInvalid, Lines, RawLine
from foreman.domain.batch_kinds.kind import Kind
from foreman.domain.batches import LineFault

MOST_FAULTS = 1000  # that are listed


class Check:
    """The check of a whole input, piece by piece: all its lines become jobs, or none."""

    def __init__(self, kind: Kind, endpoint: str) -> None:
        self._kind = kind
        self._endpoint = endpoint
        self._lines = Lines()
        self._ids = set[bytes]()  # digests
        self._models = set[str]()
        self.total = 0
        self.faults: list[LineFault] = []

    @property
    def held(self) -> int:
        """Return the bytes that `finish` will read."""
        return self._lines.held

    @property
    def is_over(self) -> bool:
        """Return True when no further line can change the outcome."""
        return len(self.faults) >= MOST_FAULTS or self.total > self._kind.most_lines

    @property
    def model(self) -> str | None:
        """Return the model of all lines, if they have one."""
        return next(iter(self._models)) if len(self._models) == 1 else None

    def feed(self, piece: bytes) -> None:
        """Check the lines that end in a piece."""
        for line in self._lines.feed(piece):
            self._check(line)

    def finish(self) -> None:
        """Check the rest, and how many lines there are."""
        for line in self._lines.finish():
            self._check(line)
        if self.total == 0:
            self.faults.append(LineFault("empty_file", "The input file has no lines."))
        elif self.total > (most := self._kind.most_lines):
            self.faults = [LineFault("too_many_tasks", f"The input file has more than {most} lines.")]

    def _check(self, line: RawLine) -> None:
        if self.is_over:
            return
        self.total += 1
        try:
            request = self._kind.read(line.data, self._endpoint)
            custom_id = request.custom_id or ""
            digest = blake2b(custom_id.encode(), digest_size=16).digest()
            if digest in self._ids:
                shown = custom_id[:80]
                raise LineInvalid("duplicate_custom_id", f"The custom_id {shown!r} is used before.", "custom_id")
        except LineInvalid as error:
            self.faults.append(LineFault(error.code, str(error), line.number, error.param))
            return
        self._ids.add(digest)
        if len(self._models) < 2:
            self._models.add(request.submission.model)
