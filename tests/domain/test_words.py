"""Words of texts and searches, and the text of requests and answers."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.searched_text import MOST_BYTES, MOST_CHARACTERS, VERSION, answer_words, request_words
from foreman.domain.words import LONGEST, terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("To be, or NOT to be", "to be or not"),
        ("snake_case kebab-case v1.2 it's", "snake case kebab v1 2 it s"),
        ("Où est l'HÔTEL? Straße ﬁn İstanbul ΣΊΣΥΦΟΣ", "ou est l hotel strasse fin istanbul σισυφοσ"),
        ("Ёлка ёж naïve", "елка еж naive"),
        ("हिन्दी में खोज", "हिन्दी में खोज"),
        ("שָׁלוֹם عَرَبِيّ", "שלום عربي"),
        ("서울에서 만나요", "서울에서 만나요"),
        ("日本語 ｶﾞ東京tower", "日本 本語 語 ガ東 東京 京 tower"),
        ("สวัสดี", "สว วั ัส สด ดี ี"),
        ("👍🏽 ok ☀️", "👍 🏽 ok ☀"),
        (f"short {'x' * LONGEST} {'y' * (LONGEST + 1)}", f"short {'x' * LONGEST}"),
        ("nothing: \0\ud800 *\"'()", "nothing"),
    ],
)
def test_words_are_the_same_in_any_case_and_without_accents(text: str, words: str) -> None:
    assert words_of(text) == words.split()


@pytest.mark.parametrize(
    ("search", "terms"),
    [
        ("Café  AU lait", "cafe au lait"),
        ("hel* lo", "hel* lo"),
        ("foo-ba*r", "foo ba* r"),
        ('"a b" AND NOT near(c, 2) -d e:f ^g', "a b and not near c 2 d e f g"),
        ("日本語", "日本 本語"),
        ("日 語*", "日* 語*"),
        ("a\0b", "a b"),
        ("👍", "👍"),
    ],
)
def test_signs_of_a_search_are_no_syntax_but_the_star_after_a_word(search: str, terms: str) -> None:
    assert terms_of(search) == terms.split()


@pytest.mark.parametrize("search", ["", "*", '"" -', "\0", "x" * (LONGEST + 1)])
def test_a_search_needs_words(search: str) -> None:
    with pytest.raises(ValueError, match="must have"):
        terms_of(search)


@given(st.text(max_size=80))
def test_a_text_has_the_words_that_are_searched_for_by_itself(text: str) -> None:
    words = words_of(text)
    try:
        terms = terms_of(text.replace("*", " "))
    except ValueError:
        return
    for term in terms:
        assert term in words or any(term[-1] == "*" and word.startswith(term[:-1]) for word in words)


def asked(**fields: Any) -> list[str]:
    return request_words(json.dumps({"model": "left-out", "options": {"stop": "left out"}, **fields}).encode())


def test_the_text_of_a_request_is_what_was_said_the_last_message_first() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages: list[Any] = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "first", "images": ["QUFB"]},
        {"role": "user", "content": [{"type": "text", "text": "second"}, picture]},
    ]
    assert asked(messages=messages) == ["second", "be", "kind", "first"]
    assert asked(system="be kind", messages=[{"role": "user", "content": "hello"}]) == ["hello", "be", "kind"]
    assert asked(instructions="kind", input=[{"content": [{"type": "input_text", "text": "hello"}]}]) == [
        "hello",
        "kind",
    ]
    assert asked(prompt=["one", "two"]) == ["one", "two"]
    assert asked(input="say this") == ["say", "this"]


@pytest.mark.parametrize(
    "answer",
    [
        {"message": {"role": "assistant", "content": "Hi there", "thinking": "hm"}, "model": "m"},
        {"response": "hi there"},
        {"choices": [{"message": {"content": "hi there", "reasoning_content": "hm"}}]},
        {"choices": [{"text": "hi"}, {"text": "there"}]},
        {"output": [{"type": "message", "content": [{"type": "output_text", "text": "hi there"}]}]},
        {"type": "message", "content": [{"type": "text", "text": "hi there"}]},
        {"text": "hi there"},
    ],
)
def test_the_text_of_an_answer_is_read_in_any_api(answer: dict[str, Any]) -> None:
    assert answer_words(json.dumps(answer).encode()) == ["hi", "there"]


def test_text_is_bounded_and_encoded_data_left_out() -> None:
    assert asked(prompt=("w " * MOST_CHARACTERS) + "cut") == ["w"]
    assert asked(prompt=f"see {'QUFB' * 40}== here") == ["see", "here"]
    assert request_words(b'{"prompt": "' + b"a " * (MOST_BYTES // 2) + b'"}') == []


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:promtconesa', max_size=60).map(str.encode))
def test_what_is_no_json_has_no_words(garbage: bytes) -> None:
    assert isinstance(request_words(garbage), list)
    assert isinstance(answer_words(garbage), list)


def test_other_words_from_the_same_text_are_another_version() -> None:
    ranges = range(1, 0x600), range(0x900, 0x980), range(0xE00, 0xE60), range(0x3040, 0x3100), range(0x4E00, 0x4E40)
    text = "".join(chr(one) + " " * (one % 5 == 0) for some in ranges for one in some)
    found = sha256(" ".join(asked(prompt=text[:MOST_CHARACTERS])).encode()).hexdigest()[:8]
    assert (VERSION, found) == (1, "47fee066"), "raise VERSION: indexes then are made anew"
