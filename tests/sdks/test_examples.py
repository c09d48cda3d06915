"""The programs of the documentation that need these clients, as they stand there."""

from __future__ import annotations

import pytest

from tests.docs.pages import page
from tests.sdks.conftest import Start, output


@pytest.mark.parametrize(
    ("name", "title", "said"),
    [
        ("docs/howto/inspect-ai.md", "colours.py", "success {'accuracy': "),
        ("docs/howto/openai-batch.md", "with_litellm.py", '"content":"w0 w1 w2 "'),
        ("docs/howto/openai-batch.md", "batch.mjs", "hello w0 w1 w2 "),
    ],
)
def test_a_program_runs_as_it_stands(start: Start, name: str, title: str, said: str) -> None:
    [block] = [block for block in page(name).blocks("python", "js") if block.title == title]
    assert said in output(start(title, block.text))
