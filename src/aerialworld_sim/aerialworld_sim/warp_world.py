"""A RenderScene on a warp device: its static mesh, the tree over its movers, and what shading reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from aerialworld_sim.render_scene import Mover, RenderScene
from aerialworld_sim.textures import ENCODE
from aerialworld_sim.warp_rays import Geometry
from aerialworld_sim.warp_shading import Look

#: Boxes of movers are this much wider on every side, metres and as a part of their coordinates: rays within some
#: kilometres that graze an edge do not slip past it by rounding.
_MARGIN, _RELATIVE_MARGIN = 1e-3, 1e-6


class DeviceWorld:
    """`geometry` and `look` are what kernels read. Raises EngineError when the device's memory does not suffice."""

    def __init__(self, scene: RenderScene, device: Any) -> None:
        self._scene, self._device = scene, device
        geometry: Any = Geometry()
        self.geometry, self.look = geometry, self._make_look()
        self._mesh = self._make_mesh()
        self._tree: wp.Bvh | None = None
        self._corners = self._lowers = self._uppers = wp.empty(0, dtype=wp.vec3, device=device)
        self._present: tuple[int, ...] | None = None
        self.geometry.city = self._mesh.id if self._mesh else 0
        self.geometry.first = scene.static_count
        self.moved()

    def _array(self, data: NDArray[Any], dtype: Any) -> wp.array:
        return wp.array(np.ascontiguousarray(data), dtype=dtype, device=self._device)

    def _make_mesh(self) -> wp.Mesh | None:
        scene = self._scene.scene
        if not self._scene.static_count:
            return None
        # The slower builder on both devices: the tree is built once and then serves every ray.
        points = self._array(scene.vertices.astype(np.float32, copy=False), wp.vec3)
        indices = self._array(scene.faces.astype(np.int32, copy=False).ravel(), wp.int32)
        return wp.Mesh(points=points, indices=indices, bvh_constructor="sah")

    def _make_look(self) -> Any:
        s, t = self._scene.surfaces, self._scene.surfaces.textures
        look: Any = Look()
        self._records = self._array(s.records, wp.float32)
        look.records = self._records
        look.material = self._array(s.material, wp.int32)
        look.labels = self._array(s.labels, wp.int32)
        look.colour = self._array(s.colour, wp.vec3)
        look.texels = self._array(t.texels, wp.uint32)
        for name in ("first_level", "levels", "level_offset", "level_width", "level_height"):
            data = getattr(t, name).astype(np.int32)
            setattr(look, name, self._array(data if len(data) else np.zeros(1, np.int32), wp.int32))
        look.encode = self._array(ENCODE, wp.uint8)
        for name in ("sun", "ambient", "horizon", "zenith", "to_sun"):
            setattr(look, name, wp.vec3(*getattr(s, name).tolist()))
        look.shadows = s.shadows
        return look

    def moved(self) -> None:
        """Bring the movers where the scene has placed them."""
        scene = self._scene
        present = [m for m in scene.movers if m.pose is not None and m.count]
        if not present:
            self.geometry.movers = 0
            return
        self._records[scene.static_count :].assign(scene.surfaces.records[scene.static_count :])
        corners = np.concatenate([m.placed for m in present])
        margin = np.float32(_MARGIN + _RELATIVE_MARGIN * float(np.abs(corners).max()))
        lowers, uppers = corners.min(axis=1) - margin, corners.max(axis=1) + margin
        which = tuple(m.first for m in present)
        if which != self._present:
            self._renew(present, len(corners))
            self._present = which
        self._corners.assign(corners.reshape(-1, 3))
        self._lowers.assign(lowers)
        self._uppers.assign(uppers)
        # Built anew each time, not refitted: trees of movers that have driven apart are slow, and this is soon done.
        if self._tree is None:
            self._tree = wp.Bvh(self._lowers, self._uppers)
        else:
            self._tree.rebuild()
        self.geometry.movers = self._tree.id

    def _renew(self, present: list[Mover], count: int) -> None:
        """Arrays for another set of movers."""
        self._tree = None
        self._corners = wp.empty(3 * count, dtype=wp.vec3, device=self._device)
        self._lowers = wp.empty(count, dtype=wp.vec3, device=self._device)
        self._uppers = wp.empty(count, dtype=wp.vec3, device=self._device)
        self.geometry.corners = self._corners
        self.geometry.owner = self._array(np.repeat([m.owner for m in present], [m.count for m in present]), wp.int32)
        rows = [np.arange(m.first, m.first + m.count, dtype=np.int32) for m in present]
        self.geometry.rows = self._array(np.concatenate(rows), wp.int32)
