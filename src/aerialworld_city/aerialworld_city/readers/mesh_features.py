"""Which faces of a mesh file are one object, and what it is called.

PLATEAU's OBJ release has no names: a building is a connected piece, joined where vertices are equal (915 of 915 on tile
53393599). Where a file does name its groups or nodes, a name that is a building's identifier makes one feature of all
its faces, and another name is kept where it stands for exactly one connected piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aerialworld_city.readers.mesh_faces import Faces

#: gml:id (bldg_ or BLD_ with a UUID, a UUID alone; what follows it is a part's name), or 13111-bldg-10.
_IDENTIFIER = re.compile(
    r"((?:[A-Za-z]{1,8}_)?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|\d{5}-[a-z]{3,5}-\d+|(?:bldg|BLD|brid|frn|veg)_[0-9A-Fa-f-]{6,})(?![0-9A-Za-z])"
)
#: Separate objects in one file; a square kilometre of Tokyo has a few thousand.
MAX_FEATURES = 500_000


@dataclass(eq=False)
class Names:
    """One way in which a file names its faces: `of` (F,) int32 into `texts`, -1 for none; `whole`: every name is one
    feature, whatever it is called."""

    of: NDArray[np.int32]
    texts: Sequence[str]
    whole: bool = False


class TooManyError(ValueError):
    """More objects than MAX_FEATURES; its argument is their number."""


def find_features(
    faces: Faces, corner: NDArray[np.int64], solid: NDArray[np.bool_], names: Sequence[Names], stem: str
) -> tuple[NDArray[np.int64], list[str]]:
    """The feature of every face (F,), -1 for faces without a triangle of area, and the features' ids, by first face."""
    has = np.zeros(len(faces.start) - 1, np.bool_)
    has[faces.face[solid]] = True
    by_name: dict[str, int] = {}
    named = np.full(len(has), -1, np.int64)
    names = [n for n in names if (n.of >= 0).any()]
    for names_ in names:
        wanted = np.array([_identifier(t, names_.whole) or "" for t in names_.texts] + [""])
        for text in wanted[np.unique(names_.of[has])].tolist():
            if text:
                by_name.setdefault(text, len(by_name))
        numbers = np.array([by_name.get(text, -1) for text in wanted])
        named = np.where(named < 0, numbers[names_.of], named)
    piece = _pieces(faces, corner, solid & (named[faces.face] < 0), int(corner.max()) + 1)
    # Named features first, then pieces; then all by first appearance.
    owner = np.where(named >= 0, named, np.where(piece >= 0, piece + len(by_name), -1))
    owner[~has] = -1
    kept = np.flatnonzero(owner >= 0)
    found, first, inverse = np.unique(owner[kept], return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    owner[kept] = rank[inverse.reshape(-1)]
    if len(found) > MAX_FEATURES:
        raise TooManyError(len(found))
    ids = [""] * len(found)
    for text, number in by_name.items():
        at = np.searchsorted(found, number)
        if at < len(found) and found[at] == number:
            ids[int(rank[at])] = text
    for names_ in names:
        _name_pieces(ids, owner, names_)
    return owner, unique([text or f"{stem}_{i + 1:05d}" for i, text in enumerate(ids)])


def _identifier(text: str, whole: bool) -> str | None:
    match = _IDENTIFIER.match(text)
    return match[1] if match else (_clean(text) or None) if whole else None


def _clean(text: str) -> str:
    return "".join(ch for ch in text if ch.isprintable()).strip()[:200]


def _pieces(faces: Faces, corner: NDArray[np.int64], use: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Connected piece of every face (F,), -1 for faces of other triangles only."""
    piece = np.full(len(faces.start) - 1, -1, np.int64)
    t = corner[faces.triangles[use]].astype(np.int32)
    if len(t) == 0:
        return piece
    links = (t[:, :2].reshape(-1), t[:, 1:].reshape(-1))
    graph = coo_array((np.ones(len(links[0]), np.int8), links), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    piece[faces.face[use]] = label[t[:, 0]]
    return piece


def _name_pieces(ids: list[str], owner: NDArray[np.int64], names: Names) -> None:
    """Give a name to a nameless feature where the two are the same faces."""
    kept = owner >= 0
    pairs = np.unique(np.column_stack([owner[kept], names.of[kept]]), axis=0)
    alone_feature = np.bincount(pairs[:, 0], minlength=len(ids)) == 1
    alone_name = np.bincount(pairs[:, 1] + 1, minlength=len(names.texts) + 1) == 1
    for feature, text in pairs[alone_feature[pairs[:, 0]] & alone_name[pairs[:, 1] + 1]].tolist():
        if text >= 0 and not ids[feature]:
            ids[feature] = _clean(names.texts[text])


def unique(ids: list[str]) -> list[str]:
    """The texts, those met before with a number behind them."""
    seen, used = set(ids), dict.fromkeys(ids, 0)
    result = []
    for text in ids:
        new = text
        used[text] += 1
        while used[text] > 1 and new in seen:
            new = f"{text}_{used[text]}"
            used[text] += new in seen
        seen.add(new)
        result.append(new)
    return result
