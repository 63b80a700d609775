"""What moves in traffic: kinds with their sizes, classes (Occ3D-nuScenes), speeds, and how common they are."""

from __future__ import annotations

from dataclasses import dataclass

from aerialworld_core import labels
from aerialworld_core.roads.shapes import BUS, CAR, TRUCK, TWO_WHEELER, WALKER, Shape


@dataclass(frozen=True)
class Kind:
    """A kind of actor.

    label    class; shape: the room that it takes; size: length, width, height of its body, metres
    speed    m/s, the slowest and fastest that its members like to go
    pull     m/s², how hard it speeds up; brake: how hard it slows down for what it expects
    share    how common it is among vehicles (or among pedestrians), before what does not fit a road is left out
    colours  sRGB, one is drawn
    """

    name: str
    label: int
    shape: Shape
    size: tuple[float, float, float]
    speed: tuple[float, float]
    pull: float
    brake: float
    share: float
    colours: tuple[tuple[int, int, int], ...]
    parks: bool = True

    @property
    def ahead(self) -> float:
        """Metres from the reference point forward to the middle of the body, whose rear is the shape's rear."""
        return 0.5 * self.size[0] - self.shape.rear


_PAINT = ((235, 235, 232), (205, 207, 210), (120, 124, 130), (38, 40, 44), (142, 30, 34), (32, 60, 118), (96, 88, 74))
_CLOTHES = ((60, 66, 92), (120, 40, 46), (46, 90, 66), (150, 140, 120), (40, 40, 44), (196, 150, 60), (96, 110, 130))

#: Sizes are those of common Japanese models: a compact saloon, a light van (kei) and a one-box van, a 4-tonne lorry, a
#: route bus.
KINDS = (
    Kind("sedan", labels.CAR, CAR, (4.5, 1.72, 1.46), (9.5, 15.0), 1.9, 2.2, 0.46, _PAINT),
    Kind("kei", labels.CAR, CAR, (3.4, 1.48, 1.78), (8.5, 13.0), 1.7, 2.2, 0.2, _PAINT),
    Kind("van", labels.CAR, CAR, (4.7, 1.7, 1.98), (9.0, 14.0), 1.6, 2.0, 0.12, _PAINT[:4]),
    Kind("truck", labels.TRUCK, TRUCK, (7.6, 2.2, 2.9), (8.0, 12.0), 1.1, 1.8, 0.09, ((235, 235, 232), (70, 110, 150))),
    Kind("bus", labels.BUS, BUS, (10.4, 2.46, 3.05), (8.0, 12.0), 1.0, 1.6, 0.04,
         ((40, 110, 70), (196, 60, 44)), False),
    Kind("motorcycle", labels.MOTORCYCLE, TWO_WHEELER, (2.05, 0.74, 1.7), (9.0, 14.0), 2.4, 2.4, 0.05, _PAINT[3:6]),
    Kind("bicycle", labels.BICYCLE, TWO_WHEELER, (1.75, 0.56, 1.72), (3.6, 5.2), 0.9, 1.8, 0.04, _CLOTHES, False),
)  # fmt: skip
PEDESTRIANS = (
    Kind("adult", labels.PEDESTRIAN, WALKER, (0.42, 0.52, 1.7), (1.0, 1.6), 0.8, 1.2, 0.85, _CLOTHES, False),
    Kind("child", labels.PEDESTRIAN, WALKER, (0.34, 0.4, 1.2), (0.8, 1.3), 0.8, 1.2, 0.15, _CLOTHES, False),
)
BY_NAME = {kind.name: kind for kind in (*KINDS, *PEDESTRIANS)}
