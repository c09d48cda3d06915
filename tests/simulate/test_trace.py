"""Traces are read in both forms, made alike for a seed, and refused in one line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from foreman.domain.job import Priority
from tests.simulate.__main__ import main
from tests.simulate.generate import generate, with_people
from tests.simulate.trace import Request, Trace, read

MOONCAKE = """\
{"timestamp": 2000, "input_length": 600, "output_length": 5, "hash_ids": [1, 3]}
{"timestamp": 500, "input_length": 512, "output_length": 7, "hash_ids": [1], "caller": "ann", "priority": "high"}

"""
AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,1396,109
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "trace"
    path.write_text(text)
    return path


def test_mooncakes_form_is_read_in_the_order_of_arrival(tmp_path: Path) -> None:
    trace = read(written(tmp_path, MOONCAKE))
    assert trace.block == 512
    assert trace.requests == [
        Request(at=0, prompt=512, answer=7, blocks=(1,), caller="ann", priority=Priority.HIGH),
        Request(at=1.5, prompt=600, answer=5, blocks=(1, 3)),
    ]
    assert trace.bound() == 512 / 1112


def test_azures_form_is_read_and_shares_no_prompts(tmp_path: Path) -> None:
    trace = read(written(tmp_path, AZURE))
    assert [(one.prompt, one.answer, len(one.blocks)) for one in trace.requests] == [(374, 44, 1), (1396, 109, 3)]
    assert trace.requests[1].at == pytest.approx(4.314579)
    assert trace.bound() == 0


def test_the_first_jobs_of_a_file_are_enough(tmp_path: Path) -> None:
    assert [one.prompt for one in read(written(tmp_path, AZURE), most=1).requests] == [374]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: must be a JSON object as in Mooncake's traces"),
        ("time,in,out\n", "line 1: must be a JSON object as in Mooncake's traces"),
        ("{}\n", "line 1: Object missing required field `timestamp`"),
        ("{nonsense\n", "line 1: JSON is malformed"),
        (MOONCAKE + '{"timestamp": -1}', "line 4: Expected `float` >= 0.0 - at `$.timestamp`"),
        (MOONCAKE.replace("600", "1600"), "line 1: 1600 tokens need 4 hash_ids, one for each 512, not 2"),
        (AZURE + "yesterday,1,2\n", "line 4: must be a time, tokens of the prompt and of the answer, not 'yesterday,"),
        (AZURE + "2023-11-16 18:15:51,0,2\n", "line 4: must be a time, tokens of the prompt and of the answer"),
        (AZURE.splitlines()[0], "has no requests"),
        ("\xff", "line 1: must be a JSON object"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = written(tmp_path, text)
    assert main([str(path)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"{path}") and said in line and line.count("\n") == 1


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/nowhere cannot be read: No such file or directory\n"
    (tmp_path / "bytes").write_bytes(b"{\xff\n")
    assert main([str(tmp_path / "bytes")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/bytes cannot be read: it is not text\n"


def test_prompts_that_share_blocks_begin_with_the_same_text() -> None:
    requests = [
        Request(at=0, prompt=250, answer=1, blocks=(1, 2, 3)),
        Request(at=0, prompt=250, answer=1, blocks=(1, 2, 4)),
    ]
    trace = Trace(requests, block=100)
    first, second = (
        msgspec.json.decode(trace.body(number, bytes_per_token=2))["messages"][0]["content"] for number in (0, 1)
    )
    assert len(first) == len(second) == 500
    assert first[:400] == second[:400] and first[400:] != second[400:]
    assert first[:200] != first[200:400]


def test_a_trace_is_made_alike_for_a_seed() -> None:
    once, again, other = (generate(seed, jobs=300, callers=12) for seed in (1, 1, 2))
    assert once == again and once != other
    assert [one.at for one in once.requests] == sorted(one.at for one in once.requests)
    callers = [one.caller for one in once.requests]
    assert len(set(callers)) == 12 and 85 <= callers.count("caller 1") <= 95
    assert once.bound() > 0.5
    assert {one.priority for one in once.requests} == {Priority.NORMAL}


def test_people_call_now_and_then_while_others_are_in_the_lowest_class() -> None:
    alone = generate(3, jobs=400, callers=3)
    trace = with_people(alone, 3, every=20, until=500)
    people = [one for one in trace.requests if one.caller == "people"]
    assert 15 <= len(people) <= 35 and len(trace.requests) == len(alone.requests) + len(people)
    assert trace.bound() < alone.bound()
    assert all((one.priority == Priority.HIGH) == (one.caller == "people") for one in trace.requests)
    assert all(later.at > earlier.at for earlier, later in pairwise(people))


def test_prompts_that_begin_alike_have_the_same_model() -> None:
    trace = generate(1, jobs=300, callers=12).over(3, seed=1)
    assert {one.model for one in trace.requests} == {"m1", "m2", "m3"}
    of_first: dict[int, set[str]] = {}
    for one in trace.requests:
        of_first.setdefault(one.blocks[0], set()).add(one.model)
    assert all(len(models) == 1 for models in of_first.values())
