"""What is occupied, and by which class: the kernels of `samples` and `joins` over the faces of a rig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.labels import DYNAMIC, FREE, NUM_CLASSES
from aerialworld_recorder import samples
from aerialworld_recorder.faces import Face
from aerialworld_recorder.joins import join_samples
from aerialworld_recorder.samples import mark_face

Images = Mapping[str, NDArray[Any]]


class SampleSums(NamedTuple):
    """Over all faces: pixels that are hits, that bear class 0, that lie above the grid within its x-y range; m² of
    surface seen within that range, and of it below the grid."""

    hits: int
    unlabelled: int
    above: int
    area: float
    area_below: float


class _Scratch:
    """Room for one face: its rows in work and the pairs that are to be joined."""

    def __init__(self, height: int, width: int) -> None:
        self.codes = np.empty((2, width + 2), np.int32)
        self.tags = np.empty((2, width + 2), np.int32)
        self.gaps = np.empty(width + 2, np.int32)
        self.area = np.empty((2, width))
        self.pairs = np.empty(2 * (height + 1) * (width + 1), np.int32)  # memory is only taken where it is written
        self.count = 0


class Surface:
    """Marks a grid's voxels with the surface that the faces see. `state` and `classes` are flat uint8, 0 and FREE at
    first."""

    def __init__(self, faces: Sequence[Face], shape: tuple[int, int, int]) -> None:
        self._shape = np.array(shape, np.int64)
        self._dynamic = np.isin(np.arange(NUM_CLASSES), DYNAMIC)
        self._scratch = {f.spec.name: _Scratch(f.spec.height, f.spec.width) for f in faces}
        self._runs = np.empty((3, sum(f.spec.height * f.spec.width for f in faces)), np.int64)  # as with `pairs`
        self._counts = np.zeros(7, np.int64)
        self._line, self._segments = np.empty(6), np.empty((2, 5))

    def place(
        self, faces: Sequence[Face], depth: Images, labels: Images, state: NDArray[np.uint8], classes: NDArray[np.uint8]
    ) -> SampleSums:
        """Mark the voxels that hold hits. Raises InputError for ids that are no surface class."""
        counts, areas = self._counts, np.zeros(2)
        counts[:] = 0
        for face in faces:
            name, scratch = face.spec.name, self._scratch[face.spec.name]
            scratch.area[:] = 0.0
            mark_face(
                depth[name], labels[name], face.slant, face.view, self._shape, scratch.codes, scratch.tags,
                scratch.gaps, scratch.area, state, classes, self._runs, scratch.pairs, counts,
            )  # fmt: skip
            scratch.count = int(counts[samples.PAIRS])
            areas += scratch.area.sum(axis=1)
            if counts[samples.BAD_CLASS]:
                raise InputError(
                    f"class image {name!r}: {counts[samples.BAD_CLASS]} hit pixels bear ids from {FREE} on; "
                    f"surface classes are 0 … {FREE - 1}: check the labels of the world's visuals"
                )
        hits, unlabelled, above = (int(counts[n]) for n in (samples.HITS, samples.UNLABELLED, samples.ABOVE))
        return SampleSums(hits, unlabelled, above, float(areas[0]), float(areas[1]))

    def join(
        self, faces: Sequence[Face], depth: Images, labels: Images, state: NDArray[np.uint8], classes: NDArray[np.uint8]
    ) -> None:
        """Mark the voxels that the surface between hits crosses; after `place`."""
        for face in faces:
            name, scratch = face.spec.name, self._scratch[face.spec.name]
            join_samples(
                scratch.pairs, scratch.count, depth[name], labels[name], face.view, self._shape, self._dynamic, state,
                classes, self._line, self._segments,
            )  # fmt: skip

    @property
    def sampled(self) -> NDArray[np.int64]:
        """Flat numbers of the voxels that hold hits, some more than once."""
        return self._runs[0, : self._counts[samples.RUNS]]

    def vote(self, state: NDArray[np.uint8], classes: NDArray[np.uint8]) -> None:
        """Decide the class of voxels that hold several: dynamic ones come first, then most samples, then the lowest
        id."""
        if not self._counts[samples.MIXED_VOXELS]:
            return
        runs = self._runs[:, : self._counts[samples.RUNS]]
        runs = runs[:, np.flatnonzero(state[runs[0]] == samples.MIXED)]
        voxels, row = np.unique(runs[0], return_inverse=True)
        votes = np.zeros((len(voxels), NUM_CLASSES), np.int64)
        np.add.at(votes, (row, runs[1]), runs[2])
        votes += (votes > 0) * self._dynamic * (1 << 40)
        classes[voxels] = votes.argmax(axis=1)
