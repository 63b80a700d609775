"""Surfaces that stand elsewhere: xlink:href inside an object, to other objects of the file, to nowhere, in circles.

What an object refers to inside itself is resolved when it was read whole. What lies in other objects, before or after,
waits for a second pass over the file; files without such references are read once. Other files are never opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aerialworld_city.readers.citygml_geometry import Geometry, Part, Placement
from aerialworld_city.readers.citygml_words import identifier_of, local

#: How often a reference may lead to another one before it is given up.
_MAX_CHAIN = 8
#: References of one file that are looked for in a second pass; further ones are reported.
_MAX_WAITING = 500_000
#: Elements and points that are read by reference, which may be the same ones again and again; then it ends.
_MAX_READ = 5_000_000


@dataclass(eq=False, slots=True)
class Waiting:
    """A reference from a feature to something that the object itself does not hold."""

    feature: int
    surface: int
    placement: Placement | None
    line: int | None
    path: tuple[str, ...]


@dataclass(eq=False)
class References:
    """`name_of` gives a feature's id; `skip(id, reason, line)` reports; `own` is the file's name."""

    own: str
    skip: Callable[[str, str, int | None], None]
    count: Callable[..., None]
    name_of: Callable[[int], str]
    waiting: dict[str, list[Waiting]] = field(default_factory=dict)
    #: A feature at a lower level → the one that it stands in for, until that one is among `delivered`.
    stand_ins: dict[int, int] = field(default_factory=dict)
    #: Features of which something was found by a reference.
    delivered: set[int] = field(default_factory=set)
    _number: int = 0
    _amount: int = 0
    _read: set[tuple[int, str]] = field(default_factory=set)

    def stand_in(self, feature: int, substitute: int) -> None:
        self.stand_ins[substitute] = feature

    def whereabouts(self, part: Part, first: int) -> str:
        """Where the references from `first` on lead: one of them "inside" the object, else one "elsewhere" (in the
        file, perhaps), else to other files or there are none: ""."""
        found = ""
        for href, *_ in part.references[first:]:
            identifier = self._local(href)
            if identifier is not None:
                if identifier in part.taken or part.inside(identifier) is not None:
                    return "inside"
                found = "elsewhere"
        return found

    def _local(self, href: str) -> str | None:
        """The id that a href of this file means; None for another file."""
        file, _, identifier = href.strip().rpartition("#")
        if file and posixpath.basename(unquote(file).replace("\\", "/")) != posixpath.basename(self.own):
            return None
        return identifier if "#" in href else None

    def resolve_inside(self, part: Part, geometry: Geometry) -> None:
        """Read what the object refers to inside itself; `part.references` keeps what waits for the second pass."""
        queue, part.references = part.references, []
        waiting = []
        elsewhere: dict[str, int] = {}
        visited: set[tuple[int, str, int]] = set()
        while queue:
            for reference in queue:
                href, feature, surface, placement, line, path = reference
                identifier = self._local(href)
                place = (feature, identifier or "", id(placement))
                if identifier is None:
                    file = (href.strip().rpartition("#")[0] or href.strip())[:200]
                    elsewhere[file] = elsewhere.get(file, 0) + 1
                elif identifier in path:
                    part.skip("", f"line {line}: {identifier[:200]} refers to itself in a circle", None)
                elif (identifier in part.taken and placement is None) or place in visited:
                    continue
                elif (target := part.inside(identifier)) is None:
                    waiting.append(reference)
                else:
                    visited.add(place)
                    part.feature, part.path = feature, (*path, identifier)
                    self._deliver(target, surface, part, placement, geometry)
            queue, part.references = part.references, []
            part.path = ()
        for file, number in elsewhere.items():
            part.skip("", f"{number} of its surfaces are in another file, {file!r}, which is not opened", None)
        for href, feature, surface, placement, line, path in waiting:
            self._wait(self._local(href) or "", Waiting(feature, surface, placement, line, path))
        part.references = waiting

    def _deliver(self, target: Any, surface: int, part: Part, placement: Placement | None, geometry: Geometry) -> None:
        if self._amount > _MAX_READ:
            part.skip("", f"what the file reads again by reference exceeds {_MAX_READ} elements and points", None)
            return
        before, points, visited = len(geometry.packed), len(geometry.packed.points), geometry.visited
        geometry.read(target, surface, part, placement)
        self._amount += geometry.visited - visited + (len(geometry.packed.points) - points) // 3
        if len(geometry.packed) > before:
            self.delivered.add(part.feature)

    def _wait(self, identifier: str, waiting: Waiting) -> None:
        if (waiting.feature, identifier) in self._read and waiting.placement is None:
            return
        self._number += 1
        if self._number <= _MAX_WAITING:
            self._read.add((waiting.feature, identifier))
            self.waiting.setdefault(identifier, []).append(waiting)
        else:
            self._report(
                waiting, f"more than {_MAX_WAITING} references between objects in one file; #{identifier[:200]}"
            )

    # -- second pass ----------------------------------------------------------------------------------------------

    def resolve(self, geometry: Geometry, walk: Callable[[], Any]) -> None:
        """Look for all that waits; `walk()` yields the city's objects once more, one after the other."""
        for _ in range(_MAX_CHAIN):
            if not self.waiting:
                return
            wanted, self.waiting = self.waiting, {}
            for element in walk():
                self._look(element, wanted, geometry)
                if not wanted:
                    break
            self._missing(wanted)
        for identifier, waits in self.waiting.items():
            for waiting in waits:
                self._report(waiting, f"{identifier[:200]} is reached by more than {_MAX_CHAIN} references")
        self.waiting = {}

    def _look(self, element: Any, wanted: dict[str, list[Waiting]], geometry: Geometry) -> None:
        for inner in element.iter():
            identifier = identifier_of(inner) if local(inner) else None
            if identifier is not None and identifier in wanted:
                for waiting in wanted.pop(identifier):
                    self._read_for(waiting, identifier, inner, geometry)

    def _read_for(self, waiting: Waiting, identifier: str, element: Any, geometry: Geometry) -> None:
        name = self.name_of(waiting.feature)
        part = Part(lambda what, reason, line: self.skip(f"{name} {what}".rstrip(), reason, line))
        part.feature, part.path = waiting.feature, (*waiting.path, identifier)
        self._deliver(element, waiting.surface, part, waiting.placement, geometry)
        for href, feature, surface, placement, line, path in part.references:
            target = self._local(href)
            if target is None:
                self._report(waiting, f"a surface is in another file, {href[:200]!r}, which is not opened")
            elif target in path:
                self._report(waiting, f"line {line}: {target[:200]} refers to itself in a circle")
            elif target not in part.taken:
                self._wait(target, Waiting(feature, surface, placement, line, path))

    def _missing(self, wanted: dict[str, list[Waiting]]) -> None:
        """One line for each feature that refers to ids which are not in the file."""
        features: dict[int, tuple[int, str, Waiting]] = {}
        for identifier, waits in wanted.items():
            for waiting in waits:
                number, first, at = features.get(waiting.feature, (0, identifier, waiting))
                features[waiting.feature] = (number + 1, first, at)
        for number, first, at in features.values():
            self.count("references to nowhere", number)
            self._report(at, f"line {at.line}: {number} of its surfaces are not in the file, first #{first[:200]}")

    def _report(self, waiting: Waiting, reason: str) -> None:
        self.skip(self.name_of(waiting.feature), reason, None)
