"""Tables and long lines, on terminals of several widths and in a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.text import Text

from foreman.cli.columns import lay_out
from foreman.config.settings import Settings
from foreman.greeting import greeting
from tests.cli.conftest import TOKEN, App, environment
from tests.cli.terminal import Terminal

LONG = "told to by " + "one two three four five six seven eight nine ten " * 3 + "#status=400"


def lines_of(app: App, *words: str, columns: int) -> list[str]:
    """What a terminal shows when the program has ended."""
    env = environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN)
    with Terminal(*words, env=env, columns=columns) as terminal:
        assert terminal.ends() == 0
        shown = terminal.shows(lambda lines: any(line.strip() for line in lines))
    return [line.rstrip() for line in shown if line.strip()]


def failed(app: App) -> str:
    with app.client() as client:
        job = client.wait(client.submit("a", LONG).job_id)
        assert job.error
        return job.job_id


def test_in_a_pipe_no_line_ends_in_blanks(app: App) -> None:
    job_id = failed(app)
    with app.client() as client:
        client.run("b", "hi")
    for words in (["jobs"], ["models"], ["show", job_id], ["history", job_id]):
        said = app.run(*words).stdout.splitlines()
        assert said
        assert [line for line in said if line != line.rstrip()] == []


def test_a_long_error_goes_on_under_its_beginning(app: App) -> None:
    job_id = failed(app)
    for columns in (60, 80):
        shown = lines_of(app, "history", job_id, columns=columns)
        last = next(number for number, line in enumerate(shown) if " failed " in line)
        further = shown[last + 1 :]
        assert further
        indent = len("2030-01-31 18:00:00  failed    ")
        assert all(line.startswith(" " * indent) and line[indent] != " " for line in further), shown
        shown = lines_of(app, "show", job_id, columns=columns)
        begins = next(number for number, line in enumerate(shown) if line.startswith("error "))
        assert shown[begins + 1].startswith(" " * 12)
    wide = lines_of(app, "history", job_id, columns=400)
    assert len(wide) == len(app.run("history", job_id).stdout.splitlines())


@pytest.mark.parametrize("room", [1, 20, 40, 60, 80, 200])
def test_columns_fit_and_numbers_are_to_the_right(room: int) -> None:
    rows = [
        [Text("01M8"), Text("9 s"), Text("字" * 30), Text("it fell over " * 9)],
        [Text("02"), Text("40 min"), *[Text()] * 2],
    ]
    lines = lay_out(("ID", "AGE", "MODEL", "ERROR"), rows, room, spare=("AGE",), right={"AGE"})
    assert len(lines) == 3
    assert all(line.cell_len <= room and line.plain == line.plain.rstrip() for line in lines)
    assert lay_out(("ID", "NOTE"), [[Text("1"), Text()]], 80)[0].plain == "ID"
    if room == 200:
        assert lines[0].plain.startswith("ID       AGE  MODEL")
        assert lines[1].plain.startswith("01M8     9 s  字")
    if room == 60:
        assert "AGE" not in lines[0].plain and "ERROR" in lines[0].plain


def test_the_greeting_says_where_it_is_and_what_is_next(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    said = greeting(settings, "http://0.0.0.0:8080", ["ollama at http://127.0.0.1:11434"], ["llama3:8b"])
    assert "page      http://127.0.0.1:8080/\n" in said
    assert "Ollama    http://127.0.0.1:8080 (" in said and "OpenAI    http://127.0.0.1:8080/v1\n" in said
    assert f"queue     {tmp_path}\n" in said
    assert "next      foreman run llama3:8b, in another terminal\n" in said
    shared = Settings(data_dir=tmp_path, database_url=SecretStr("postgresql://me:geheim@db.lan/jobs"))
    said = greeting(shared, "http://[::1]:9000", [], [])
    assert "PostgreSQL at db.lan, database jobs" in said and "geheim" not in said
    assert "foreman run MODEL --url http://[::1]:9000" in said


def test_serve_greets_on_a_terminal(app: App, tmp_path: Path) -> None:
    env = environment(FOREMAN_ADDR="127.0.0.1:0", FOREMAN_DATA_DIR=str(tmp_path), FOREMAN_OLLAMA_URL=app.upstream.url)
    with Terminal("serve", env=env, columns=160) as terminal:
        terminal.shows(
            lambda lines: any(line.startswith("  next      foreman run a --url http://127") for line in lines)
        )
        terminal.press("\x03")
        assert terminal.ends() == 0
