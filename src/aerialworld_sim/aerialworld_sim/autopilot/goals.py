"""Goals that stay the same object while what is wanted stays the same, as the vehicle's side expects it."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from aerialworld_sim.vehicles.interface import Goal


class Kept:
    """The last goal that was made, with what it was made from."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._goal: Goal | None = None

    def of(self, key: Hashable, make: Callable[[], Goal]) -> Goal:
        """The goal for `key`: the one at hand when the key is still that, else a new one."""
        if self._goal is None or key != self._key:
            self._key, self._goal = key, make()
        return self._goal

    @property
    def last(self) -> Goal | None:
        """The goal at hand, if there is one."""
        return self._goal

    def clear(self) -> None:
        self._goal = None
