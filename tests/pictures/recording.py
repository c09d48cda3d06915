"""A session in the terminal as an SVG that plays it: what a screen showed, one state after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

import pyte

WIDTH, HEIGHT = 8.4, 18.0  # px of a character at 14 px
LAST = 4.0  # seconds for which the last state stays
SHORTEST, LONGEST = 0.4, 2.0  # seconds of the others
COLOURS = {
    "default": "#d8dee9",
    "black": "#5b6478",
    "red": "#ef6b73",
    "green": "#8fcf7f",
    "brown": "#e6c07b",
    "blue": "#7aa2f7",
    "magenta": "#c792ea",
    "cyan": "#6fcbd6",
    "white": "#eceff4",
    "brightblack": "#8a93a8",
}
BACK = "#12161f"
FRAME = 14  # px around the screen


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one line that look alike."""

    column: int
    text: str
    colour: str
    back: str
    bold: bool


@dataclass(slots=True)
class Recording:
    """The states of a screen with the times at which they began, in seconds."""

    columns: int
    lines: int
    states: list[tuple[float, tuple[tuple[Run, ...], ...]]] = field(default_factory=list)

    def look(self, screen: pyte.Screen, at: float) -> None:
        """Keep what the screen shows, if that is new."""
        state = tuple(tuple(_runs(screen, line)) for line in range(self.lines))
        if any(state) and (not self.states or self.states[-1][1] != state):
            self.states.append((at, state))

    def svg(self, title: str) -> str:
        """Return the picture. It plays without end; where pictures do not move, it shows the last state."""
        used = max(number + 1 for _, state in self.states for number, runs in enumerate(state) if runs)
        width, height = self.columns * WIDTH + 2 * FRAME, used * HEIGHT + 2 * FRAME
        begins = [0.0]
        for (one, _), (other, _) in zip(self.states, self.states[1:], strict=False):
            begins.append(begins[-1] + min(LONGEST, max(SHORTEST, other - one)))
        whole = begins[-1] + LAST
        ends = [*begins[1:], whole]
        frames, rules = [], []
        for number, ((_, state), begin, end) in enumerate(zip(self.states, begins, ends, strict=True)):
            first, last = 100 * begin / whole, 100 * end / whole
            shown = f"{first:.2f}%,{last - 0.01:.2f}%{{visibility:visible}}"
            hidden = "".join(f"{at:.2f}%{{visibility:hidden}}" for at in (first - 0.01, last) if 0 < at < 100)
            rules.append(f"@keyframes f{number}{{{'' if number == 0 else '0%{visibility:hidden}'}{shown}{hidden}}}")
            rest = "visible" if number == len(self.states) - 1 else "hidden"
            style = f"visibility:{rest};animation:f{number} {whole:.2f}s step-end infinite"
            frames.append(f'<g style="{style}">{"".join(_line(y, runs) for y, runs in enumerate(state))}</g>')
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f"aria-label={quoteattr(title)}><title>{escape(title)}</title>"
            f"<style>text{{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}}"
            f"@media(prefers-reduced-motion:reduce){{g{{animation:none!important}}}}{''.join(rules)}</style>"
            f'<rect width="100%" height="100%" rx="8" fill="{BACK}"/>'
            f'<g transform="translate({FRAME} {FRAME})">{"".join(frames)}</g></svg>\n'
        )


def _runs(screen: pyte.Screen, line: int) -> list[Run]:
    runs: list[Run] = []
    for column in range(screen.columns):
        one = screen.buffer[line][column]
        colour, back = (one.bg, one.fg) if one.reverse else (one.fg, one.bg)
        shown = Run(
            column,
            one.data,
            _colour(colour, one.reverse),
            "" if back == "default" and not one.reverse else _colour(back, False),
            one.bold,
        )
        if runs and (runs[-1].colour, runs[-1].back, runs[-1].bold) == (shown.colour, shown.back, shown.bold):
            runs[-1] = Run(runs[-1].column, runs[-1].text + shown.text, shown.colour, shown.back, shown.bold)
        else:
            runs.append(shown)
    return [run for run in runs if run.text.strip() or run.back]


def _colour(name: str, is_back: bool) -> str:
    if is_back and name == "default":
        return BACK
    return COLOURS.get(name) or (f"#{name}" if len(name) == 6 else COLOURS["default"])


def _line(number: int, runs: tuple[Run, ...]) -> str:
    parts = []
    for run in runs:
        x, y, length = run.column * WIDTH, number * HEIGHT, len(run.text) * WIDTH
        if run.back:
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{HEIGHT}" fill="{run.back}"/>')
        text = run.text.rstrip()
        if text:
            bold = ' font-weight="bold"' if run.bold else ""
            fitted = f'textLength="{len(text) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
            parts.append(f'<text x="{x:.1f}" y="{y + 14:.1f}" fill="{run.colour}"{bold} {fitted}>{escape(text)}</text>')
    return "".join(parts)
