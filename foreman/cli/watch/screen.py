"""What the person at the screen does: views, selection, filter, questions; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from rich.text import Text

View: TypeAlias = Literal["now", "jobs", "targets", "batches", "nodes"]
Verb: TypeAlias = Literal["cancel", "retry", "cancel batch", "pause", "resume"]

VIEWS: tuple[View, ...] = ("now", "jobs", "targets", "batches", "nodes")
STATES = ("", "queued", "loading,working", "done", "failed", "cancelled,expired")  # that `s` goes through
PAGE = 10  # rows, before the first frame
SHORT = 8  # characters of the end of an id that are shown and name a job

_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1}


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be selected; `job_id` and `batch_id` are what it is about, if it is."""

    key: str
    lines: tuple[Text, ...]
    job_id: str = ""
    batch_id: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """An action that changes something, with the id that it is about."""

    verb: Verb
    subject: str = ""

    @property
    def question(self) -> str:
        """The question to answer before it is done; empty if it is done at once."""
        match self.verb:
            case "cancel":
                return f"Cancel job {self.subject[-SHORT:]}?"
            case "cancel batch":
                return f"Cancel batch {self.subject[-SHORT:]}, all its open lines?"
            case "pause":
                return "Pause the queue? Running jobs go on, waiting ones wait."
        return ""


@dataclass(frozen=True, slots=True)
class Look:
    """What the screen shows, for the poller to read."""

    view: View = "now"
    states: str = ""  # of the jobs that are listed, separated by commas
    batch_id: str = ""  # whose lines are listed
    filters: tuple[tuple[str, str], ...] = ()  # further ones of the list of jobs, by their names in the API
    opened: str = ""  # the job that is shown in detail


@dataclass(frozen=True, slots=True)
class Quit:
    """The person leaves."""


@dataclass(slots=True)
class Screen:
    """The state of the screen."""

    look: Look = field(default_factory=Look)
    query: str = ""  # rows have to contain it
    typing: bool = False  # the query is being typed
    help: bool = False
    asks: Act | None = None  # awaits y or n
    said: str = ""  # the outcome of the last action, until the next key
    failed: bool = False  # that action
    rows: Sequence[Row] = ()  # that can be selected, as last drawn
    page: int = PAGE  # rows of the screen, as last drawn
    scroll: int | None = None  # first line of the detail; None follows its end
    longest: int = 0  # the largest scroll, as last drawn
    _selected: dict[str, tuple[str, int]] = field(default_factory=dict)  # by view: key and number of the row

    @property
    def current(self) -> Row | None:
        """The selected row: the same one wherever it moves; when it is gone, the one in its place."""
        if not self.rows:
            return None
        key, number = self._selected.get(self.look.view, ("", 0))
        found = next((row for row in self.rows if row.key == key), None)
        return found or self.rows[min(number, len(self.rows) - 1)]

    def press(self, key: str, *, paused: bool) -> Act | Quit | None:
        """Take a key; return what is to be done."""
        self.said = ""
        if self.asks is not None:
            asked, self.asks = self.asks, None
            return asked if key in ("y", "Y") else None
        if self.typing:
            self._type(key)
        elif self.help or key == "?":
            self.help = not self.help
        elif key in ("q", "esc"):
            return self._back(key)
        elif key in ("c", "r", "p"):
            return self._act(key, paused)
        elif self.look.opened:
            self._move_text(key)
        else:
            self._move(key)
        return None

    def _type(self, key: str) -> None:
        match key:
            case "enter":
                self.typing = False
            case "esc":
                self.typing, self.query = False, ""
            case "backspace":
                self.query = self.query[:-1]
            case str() if len(key) == 1:
                self.query += key

    def _back(self, key: str) -> Quit | None:
        """Go one step back; `q` at the first step leaves."""
        if self.look.opened:
            self._show(opened="")
        elif self.query:
            self.query = ""
        elif self.look.batch_id:
            self._show(view="batches", batch_id="")
        elif key == "q":
            return Quit()
        return None

    def _act(self, key: str, paused: bool) -> Act | None:
        row = self.current
        job_id = self.look.opened or (row.job_id if row else "")
        act = None
        if key == "p":
            act = Act("resume" if paused else "pause")
        elif key == "c" and not self.look.opened and row and row.batch_id:
            act = Act("cancel batch", row.batch_id)
        elif job_id:
            act = Act("cancel" if key == "c" else "retry", job_id)
        if act and act.question:
            self.asks = act
            return None
        return act

    def _move(self, key: str) -> None:
        number = self.rows.index(row) if (row := self.current) else 0
        match key:
            case "enter" if row and row.job_id:
                self.scroll = None
                self._show(opened=row.job_id)
            case "enter" if row and row.batch_id:
                self._show(view="jobs", batch_id=row.batch_id, states="")
            case "/":
                self.typing = True
            case "s":
                self._next_states()
            case "tab" | "back tab":
                step = 1 if key == "tab" else -1
                self._show(view=VIEWS[(VIEWS.index(self.look.view) + step) % len(VIEWS)], batch_id="")
            case "1" | "2" | "3" | "4" | "5":
                self._show(view=VIEWS[int(key) - 1], batch_id="")
            case "up" | "k" | "down" | "j":
                self._select(number + _MOVES[key])
            case "page up" | "page down":
                self._select(number + (self.page if key == "page down" else -self.page))
            case "home" | "g":
                self._select(0)
            case "end" | "G":
                self._select(len(self.rows) - 1)

    def _next_states(self) -> None:
        """List the jobs of the next states; from another view, go to the list of jobs first."""
        if self.look.view != "jobs":
            self._show(view="jobs", batch_id="")
        else:
            known = self.look.states in STATES
            self._show(states=STATES[(STATES.index(self.look.states) + 1) % len(STATES)] if known else STATES[0])

    def _select(self, number: int) -> None:
        if self.rows:
            number = max(0, min(number, len(self.rows) - 1))
            self._selected[self.look.view] = self.rows[number].key, number

    def _move_text(self, key: str) -> None:
        at = self.longest if self.scroll is None else min(self.scroll, self.longest)
        match key:
            case "up" | "k" | "down" | "j":
                at += _MOVES[key]
            case "page up" | "page down":
                at += self.page if key == "page down" else -self.page
            case "home" | "g":
                at = 0
            case "end" | "G":
                at = self.longest
        self.scroll = max(0, at) if at < self.longest else None

    def _show(
        self,
        *,
        view: View | None = None,
        states: str | None = None,
        batch_id: str | None = None,
        opened: str | None = None,
    ) -> None:
        """Look at something else."""
        now = self.look
        self.look = replace(
            now,
            view=now.view if view is None else view,
            states=now.states if states is None else states,
            batch_id=now.batch_id if batch_id is None else batch_id,
            opened=now.opened if opened is None else opened,
        )
        if self.look.view != now.view:
            self.query = ""
