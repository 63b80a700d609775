"""A text of whole lines as arrays: where lines and words begin, and the numbers in them; no line becomes an object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SPACE = np.zeros(256, np.bool_)
_SPACE[[9, 10, 11, 12, 13, 32]] = True
_SLASH, _NEWLINE = ord("/"), ord("\n")
#: Forms of a face's corners in OBJ: v, v/vt, v//vn, v/vt/vn; lines that mix them, or are malformed.
FORM_V, FORM_V_VT, FORM_V_VN, FORM_V_VT_VN, FORM_MIXED = range(5)


class TextLines:
    """A block of whole lines: where they begin, how many words each has (`words` (L,)), what their first word is."""

    def __init__(self, block: bytes) -> None:
        self._original = block
        if b"\\" in block:  # a line that ends in a backslash goes on
            block = block.replace(b"\\\r\n", b"   ").replace(b"\\\n", b"  ")
        self.data = np.frombuffer(block, np.uint8)
        space = _SPACE[self.data]
        begins = ~space
        begins[1:] &= space[:-1]
        self._word = word = np.flatnonzero(begins)
        ends = np.flatnonzero(self.data == _NEWLINE)
        self.end = ends + 1
        self.start = np.concatenate([[0], self.end[:-1]])
        self._first = np.searchsorted(word, self.start)
        self.words = np.diff(np.append(self._first, len(word)))
        # The first word's place and its first eight bytes as one number, spaces as zeros.
        has = np.flatnonzero(self.words > 0)
        self._lines: NDArray[np.int64] = has
        self._place = word[self._first[has]]
        padded = np.concatenate([self.data, np.full(8, 32, np.uint8)])
        key = np.zeros(len(has), np.uint64)
        open_ = np.ones(len(has), np.bool_)
        for i in range(8):
            byte = padded[self._place + i]
            open_ &= ~_SPACE[byte]
            key |= np.where(open_, byte, 0).astype(np.uint64) << np.uint64(8 * i)
        self._key = key

    def lines_of(self, keyword: bytes) -> NDArray[np.int64]:
        """The lines whose first word this is."""
        return np.asarray(self._lines[self._key == int.from_bytes(keyword, "little")], np.int64)

    def line(self, index: int) -> bytes:
        return self.data[self.start[index] : self.end[index]].tobytes().strip()

    def number(self, index: int) -> int:
        """The line's number in the block as a text editor counts, from 1."""
        return self._original.count(b"\n", 0, int(self.start[index])) + 1

    def _mask(self, lines: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which bytes belong to these lines."""
        change = np.zeros(len(self.data) + 1, np.int8)
        change[self.start[lines]] += 1
        change[self.end[lines]] -= 1
        return np.cumsum(change[:-1], dtype=np.int8).view(np.bool_)

    def numbers(
        self, lines: NDArray[np.int64], dtype: type[np.generic], *, keyword: int, slash: bool = False
    ) -> NDArray[Any] | None:
        """All numbers of these lines behind a keyword of so many bytes, one after the other; slashes part them where
        asked for. None where a word is no number; integers beyond 64 bits become the largest."""
        data = self.data.copy()
        if keyword:
            place = self._place[np.searchsorted(self._lines, lines)]
            for i in range(keyword):
                data[place + i] = 32
        if slash:
            data[data == _SLASH] = 32
        text = data[self._mask(lines)].tobytes()
        if not text.strip():
            return np.zeros(0, dtype)
        try:
            return np.fromstring(text, dtype, sep=" ")
        except ValueError:
            return None

    def corner_forms(self, lines: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
        """The form that all words behind each line's keyword have; `place` is their first one's index among all."""
        count = self.words[lines] - 1
        total = int(count.sum())
        words = np.repeat(self._first[lines] + 1 - place, count) + np.arange(total)
        begin = self._word[words]
        end = np.append(self._word, len(self.data))[words + 1]
        at = np.flatnonzero(self.data == _SLASH)
        pairs = at[:-1][np.diff(at) == 1]
        slashes = np.searchsorted(at, end) - np.searchsorted(at, begin)
        doubled = np.searchsorted(pairs, end) - np.searchsorted(pairs, begin)
        form = np.full(total, FORM_MIXED)
        form[(slashes == 0)] = FORM_V
        form[(slashes == 1)] = FORM_V_VT
        form[(slashes == 2) & (doubled == 1)] = FORM_V_VN
        form[(slashes == 2) & (doubled == 0)] = FORM_V_VT_VN
        low, high = np.minimum.reduceat(form, place), np.maximum.reduceat(form, place)
        return np.where(low == high, low, FORM_MIXED)
