"""Tables and long lines, on terminals of several widths and in a pipe."""

from __future__ import annotations

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
    for words in (["jobs"], ["models"], ["show", job_id], ["logs", job_id]):
        said = app.run(*words).stdout.splitlines()
        assert said
        assert [line for line in said if line != line.rstrip()] == []


def test_a_long_error_goes_on_under_its_beginning(app: App) -> None:
    job_id = failed(app)
    for columns in (60, 80):
        shown = lines_of(app, "logs", job_id, columns=columns)
        last = next(number for number, line in enumerate(shown) if " failed " in line)
        further = shown[last + 1 :]
        assert further
        indent = len("2030-01-31 18:00:00  failed    ")
        assert all(line.startswith(" " * indent) and line[indent] != " " for line in further), shown
        shown = lines_of(app, "show", job_id, columns=columns)
        begins = next(number for number, line in enumerate(shown) if line.startswith("error "))
        assert shown[begins + 1].startswith(" " * 12)
    wide = lines_of(app, "logs", job_id, columns=400)
    assert len(wide) == len(app.run("logs", job_id).stdout.splitlines())
