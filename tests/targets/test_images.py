"""Images in answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from foreman.domain.answers.images import MOST_IMAGES, images
from foreman.domain.json_weight import MOST_VALUES

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(4)).decode()


def test_images_are_named_in_the_order_of_appearance() -> None:
    parts: list[Any] = [{"image": PNG}, [{"b64_json": "R0lGODlh"}], {"x": f"data:image/png;base64,{PNG}"}]
    found = images(json.dumps({"images": [PNG], "content": parts}).encode())
    assert [image.name for image in found] == ["image-0.png", "image-1.png", "image-2.gif", "image-3.png"]


@pytest.mark.parametrize("place", [{"images": [PNG] * 5000}, {"a": [{"image": PNG, "b": "no"}] * 5000}])
def test_only_so_many_images_become_artifacts(place: dict[str, Any]) -> None:
    found = images(json.dumps(place).encode())
    assert [image.name for image in found] == [f"image-{n}.png" for n in range(MOST_IMAGES)]


@pytest.mark.parametrize("filling", [b"0,", b"{},", b'[[],{"a":1}],'])
def test_what_would_take_many_times_its_size_is_not_searched(filling: bytes) -> None:
    assert images(b'{"images":["' + PNG.encode() + b'",' + filling * MOST_VALUES + b"0]}") == []


def test_a_deep_answer_is_searched() -> None:
    deep = b'{"image":' * 900 + b'"' + PNG.encode() + b'"' + b"}" * 900
    assert len(images(deep)) == 1
