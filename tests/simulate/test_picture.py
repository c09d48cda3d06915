"""The picture of a replay is well-formed, and shows what was done when."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.simulate.__main__ import main
from tests.simulate.picture import picture
from tests.simulate.play import Setup, by_arrival
from tests.simulate.server import Speed
from tests.simulate.trace import Request, Trace

SVG = "{http://www.w3.org/2000/svg}"


def test_strips_show_loads_and_models_over_time() -> None:
    requests = [
        Request(at=0, prompt=100, answer=30, blocks=(number,), model=model) for number, model in enumerate("aab")
    ]
    setup = Setup(Trace(requests, block=100), Speed(prompt=50, answer=((1, 10.0),), load=5))
    root = ElementTree.fromstring(picture(setup, {"<arrival>": by_arrival(setup)}))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert "<arrival>" in words and {"a", "b", "loading", "25 s"} <= set(words)
    paths = {path.get("fill") or path.get("class"): path.get("d") for path in root.iter(f"{SVG}path")}
    # Of 628 columns for 25 s: a load of 5 s, two jobs of 5 s for a, a load, a job for b.
    assert paths["loading"] == "M116 54h126v16h-126zM493 54h125v16h-125z"
    assert paths["hsl(220,60%,55%)"] == "M242 54h251v16h-251z"
    assert paths["hsl(40,60%,55%)"] == "M618 54h126v16h-126z"


def test_a_plot_for_each_class_and_a_line_for_each_policy(tmp_path: Path) -> None:
    written = tmp_path / "picture.svg"
    options = ["--jobs", "30", "--people", "5", "--slots", "2", "--also", "share=0", "--svg", str(written)]
    assert main(options) == 0
    root = ElementTree.fromstring(written.read_text())
    words = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert sum(word.startswith("waiting of jobs of class ") for word in words) == 2
    lines = [path for path in root.iter(f"{SVG}path") if path.get("class") == "line"]
    assert len(lines) == 3 + 2 * 3  # of the legend, and in the two plots
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "idle"]) == 3 * 2
