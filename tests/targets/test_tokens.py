"""What answers say of their tokens, in every API's words."""

from __future__ import annotations

import pytest

from foreman.domain.answers.tokens import tokens
from foreman.domain.usage import Tokens


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (b'{"prompt_eval_count":7,"eval_count":3,"done":true}', (7, 0, 3)),
        (b'{"prompt_eval_count":7.0,"eval_count":3e0}', (7, 0, 3)),
        (b'{"usage":{"prompt_tokens":9,"completion_tokens":2}}', (9, 0, 2)),
        (
            b'{"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":8}}}',
            (9, 8, 2),
        ),
        (b'{"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":null}}', (9, 0, 2)),
        (b'{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":null}}}', (9, 0, 0)),
        (b'{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":11}}}', (9, 9, 0)),
        (b'{"usage":{"input_tokens":9,"output_tokens":2,"input_tokens_details":{"cached_tokens":4}}}', (9, 4, 2)),
        (
            b'{"usage":{"input_tokens":1,"cache_read_input_tokens":30,"cache_creation_input_tokens":5,"output_tokens":2}}',
            (36, 30, 2),
        ),
        (b'{"usage":null}', (0, 0, 0)),
        (b'{"usage":[1]}', (0, 0, 0)),
        (b'{"usage":{"prompt_tokens":"9","completion_tokens":true}}', (0, 0, 0)),
        (b'{"embeddings":[[0.1]]}', (0, 0, 0)),
        (b"[1]", (0, 0, 0)),
        (b"no JSON", (0, 0, 0)),
    ],
)
def test_tokens_are_read_from_every_kind_of_answer(answer: bytes, counted: tuple[int, int, int]) -> None:
    assert tokens(answer)[:3] == counted


@pytest.mark.parametrize(
    ("said", "counted"), [(b"-5", 0), (b"7", 7), (b"1" * 18, 10**9), (b"1" * 30, 10**9), (b"1e400", 0)]
)
def test_counts_of_tokens_are_believed_within_reason(said: bytes, counted: int) -> None:
    assert tokens(b'{"prompt_eval_count":%s,"eval_count":%s}' % (said, said)) == Tokens(counted, 0, counted)
