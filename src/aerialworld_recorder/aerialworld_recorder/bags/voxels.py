"""A session's voxels from the VoxelGrid that a bag of it carries."""

from __future__ import annotations

import numpy as np

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, NUM_CLASSES
from aerialworld_core.occupancy import Occupancy
from aerialworld_recorder.bags.library import decoded
from aerialworld_recorder.bags.messages import VOXEL
from aerialworld_recorder.stream.messages import ContentError

_KIND = "foxglove_msgs/msg/VoxelGrid"


def read_voxels(data: bytes, grid: VoxelGrid) -> Occupancy:
    """The voxels of a serialised VoxelGrid, as `messages.voxel_grid` lays them out. Raises ContentError when it is of
    another grid or has other fields, or holds what is no class."""
    try:
        message = decoded(_KIND, data)
    except ValueError as error:
        raise ContentError(str(error)) from error
    nx, ny, nz = grid.shape
    layout = (message.column_count, message.row_count, message.cell_stride, message.row_stride, message.slice_stride)
    expected = (nx, ny, VOXEL.itemsize, nx * VOXEL.itemsize, nx * ny * VOXEL.itemsize)
    size = (message.cell_size.x, message.cell_size.y, message.cell_size.z)
    corner = (message.pose.position.x, message.pose.position.y, message.pose.position.z)
    offsets = {field.name: field.offset for field in message.fields}
    if layout != expected or len(message.data) != grid.size * VOXEL.itemsize:
        raise ContentError(f"voxels of {layout} and {len(message.data):,} bytes; the grid needs {expected}")
    if not np.allclose(size, grid.voxel_size, rtol=1e-9) or not np.allclose(corner, grid.minimum, atol=1e-9):
        raise ContentError(f"voxels of {size} m from {corner}; the grid has {grid.voxel_size} from {grid.minimum}")
    if offsets != {name: place[1] for name, place in (VOXEL.fields or {}).items()}:
        raise ContentError(
            f"voxels with the fields {sorted(offsets)[:10]}; a session's are {', '.join(VOXEL.names or ())}"
        )
    cells = np.asarray(message.data, np.uint8).view(VOXEL).reshape(nz, ny, nx)
    semantics = np.ascontiguousarray(cells["class"].transpose(2, 1, 0))
    observed = np.ascontiguousarray(cells["observed"].transpose(2, 1, 0)) != 0
    occupied = semantics != FREE
    if semantics.max() >= NUM_CLASSES or (occupied & ~observed).any():
        raise ContentError("voxels that are of no class, or occupied and never observed")
    return Occupancy(occupied.astype(np.uint8), semantics, observed)
