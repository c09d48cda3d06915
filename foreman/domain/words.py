"""The words of a text, and of a search: the same in any letter case, with accents and without."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

LONGEST = 64  # characters of a word; what is longer is encoded data
ANY_END = "*"  # after a word of a search: with any end

_PLAIN = re.compile(r"[a-z0-9]+")
# Letters of scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Chinese characters.
_UNSPACED = (
    "\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0edf\u1000-\u1049\u1050-\u109f\u1780-\u17d3"
    "\u17e0-\u17e9\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\U00020000-\U0003ffff"
)
_PICTURES = "\u2600-\u27bf\U0001f300-\U0001faff"  # each one is a word
_POINTS = range(10, 37)  # combining classes of the vowel points of Hebrew, Arabic and Syriac
_ACCENTS = 200  # the first combining class of the marks above, below and around letters
_LAST_MARK = 0x20000  # of the characters that are looked at, which are those of all living scripts


def words_of(text: str) -> list[str]:
    """Return each word of a text once.

    Text in scripts without spaces is cut into overlapping pairs of letters, by which any part of it is found.
    """
    if text.isascii():
        return [word for word in dict.fromkeys(_PLAIN.findall(text.lower())) if len(word) <= LONGEST]
    found = dict[str, None]()
    for one in _cut(_folded(text)):
        if pairs := one["unspaced"]:
            found.update(dict.fromkeys(pairs[at : at + 2] for at in range(len(pairs))))
        elif len(one[0]) <= LONGEST:
            found[one[0]] = None
    return list(found)


def terms_of(search: str) -> list[str]:
    """Return the words that a text must have; one that ends with ANY_END stands for all that begin like it.

    Every other sign only separates words. Raise ValueError for a search without words, or with too long a one.
    """
    text = _folded(search)
    found = dict[str, None]()
    for one in _cut(text):
        word = one[0]
        if unspaced := one["unspaced"]:
            pairs = [unspaced[at : at + 2] for at in range(len(unspaced) - 1)]
            found.update(dict.fromkeys(pairs or [unspaced + ANY_END]))
        elif len(word) > LONGEST:
            raise ValueError(f"must have words of at most {LONGEST} characters")
        else:
            found[word + ANY_END if text.startswith(ANY_END, one.end()) else word] = None
    if not found:
        raise ValueError("must have a word: letters or digits")
    return list(found)


def _folded(text: str) -> str:
    """Return the text in its compatible composed form, without accents and differences of case."""
    if text.isascii():
        return text.lower()
    # Half of a surrogate pair is in no valid text, and no engine stores it.
    apart = unicodedata.normalize("NFKD", text.encode(errors="replace").decode())
    plain = "".join([sign for sign in apart if sign < "\u0300" or not _is_accent(sign)])
    return unicodedata.normalize("NFC", plain.casefold())


def _is_accent(sign: str) -> bool:
    order = unicodedata.combining(sign)
    return order >= _ACCENTS or order in _POINTS


def _cut(folded: str) -> Iterator[re.Match[str]]:
    return _pattern().finditer(folded)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """Return the pattern of words; a vowel sign, which is no letter, belongs to the one before it."""
    signs = [chr(one) for one in range(0x300, _LAST_MARK) if unicodedata.category(chr(one)) in ("Mn", "Mc")]
    marks = "".join(map(re.escape, signs))
    letter = rf"[^\W_{_UNSPACED}]"
    return re.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|[{_PICTURES}]|{letter}(?:{letter}|[{marks}])*")
