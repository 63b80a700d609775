"""Collects the visuals of a world or of one body into one `Scene`."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.labels import NUM_CLASSES
from aerialworld_core.world.mesh import MeshPart, Skin
from aerialworld_core.world.placing import Placed, place
from aerialworld_core.world.scene import Material, Scene
from aerialworld_core.world.sdf import Notes, number, text_of, where
from aerialworld_core.world.shapes import Shapes
from aerialworld_core.world.skins import Skins
from aerialworld_core.world.textures import Pictures
from aerialworld_core.world.tree import PlacedLink, label_of
from aerialworld_core.world.unhonoured import tell_unread
from aerialworld_core.world.uris import Files

#: A visual without a material is grey, as in Gazebo.
GREY = Skin("grey", np.full(3, 0.7, dtype=np.float32))

_MAX_INSTANCES = 65535
#: At about 115 bytes a triangle, and as much again for the engine, more is no world but a mistake.
_MAX_FACES = 50_000_000
_ALL_FLAGS = 0xFFFFFFFF


class SceneBuilder:
    """Add links, then `build` the scene, within `with`: files are hashed and pictures decoded on threads meanwhile.

    `flags` says whether `<visibility_flags>` are looked at: 0 hides a visual from every sensor.
    """

    def __init__(self, files: Files, notes: Notes, *, trust_collada: bool = False, flags: bool = True) -> None:
        self.files, self.notes, self._flags = files, notes, flags
        self._pictures = Pictures()
        self._skins = Skins(files, notes, self._pictures)
        self._shapes = Shapes(files, notes, self._skins, trust_collada)
        self._columns = _Columns()
        self._unlabelled = 0
        self._hidden = 0

    def __enter__(self) -> SceneBuilder:
        self.files.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pictures.__exit__(kind, value, trace)
        self.files.__exit__(kind, value, trace)

    def add_link(self, link: PlacedLink) -> None:
        """All visuals of a link. Raises WorldError."""
        for visual in link.element.findall("visual"):
            self._add_visual(link, visual)
        for tag in ("particle_emitter", "projector"):
            if link.element.find(tag) is not None:
                self.notes.add(f"<{tag}> is not shown")

    def build(self) -> Scene:
        """The scene of everything added; an empty one when there was nothing. The builder is empty afterwards."""
        if self._unlabelled:
            self.notes.add(f"{self._unlabelled} visuals have no Label: their class is 0 (others)")
        if self._hidden:
            self.notes.add(f"{self._hidden} visuals have <visibility_flags> 0: hidden from all sensors, as in Gazebo")
        if len(self._columns.instances) >= _MAX_INSTANCES:
            self.notes.add(f"there are more than {_MAX_INSTANCES} instances: the rest have no number")
        return self._columns.joined()

    def _add_visual(self, link: PlacedLink, visual: Any) -> None:
        document = link.document
        context = f"model {link.model}: {where(document, visual)}"
        if self._flags and self._is_hidden(visual, context):
            self._hidden += 1
            return
        parts = self._shapes.parts(document, visual, context)
        if not parts:
            return
        tell_unread(visual, self.notes)
        label = label_of(document, visual, link.label)
        if label is None:
            self._unlabelled += 1
        elif label >= NUM_CLASSES:
            self.notes.add(f"label {label} of {link.model} is no class of Occ3D-nuScenes (0 to {NUM_CLASSES - 1})")
        retro = number(document, visual, "laser_retro", 0.0)
        own = self._skins.skin(document, visual, context)
        matrix = link.place(visual.find("pose"))
        if visual.find("geometry/heightmap") is not None and not np.array_equal(matrix, np.eye(4)):
            self.notes.add(f"model {link.model}: its pose does not move its heightmap, as in Gazebo")
            matrix = np.eye(4)
        several = len({part.name for part in parts}) > 1
        for part in parts:
            instance = (link.model, part.name if several else "")
            self._add_part(part, matrix, label or 0, instance, own or part.skin or GREY, retro, context)

    def _is_hidden(self, visual: Any, context: str) -> bool:
        text = text_of(visual, "visibility_flags")
        if text is None:
            return False
        if not text.isdecimal() or int(text) > _ALL_FLAGS:
            raise WorldError(
                f"{context}: <visibility_flags> is a whole number from 0 to {_ALL_FLAGS}, not {text[:20]!r}"
            )
        if 0 < int(text) < _ALL_FLAGS:
            self.notes.add(
                "<visibility_flags> are not compared with sensors' masks: such visuals are seen by every sensor"
            )
        return int(text) == 0

    def _add_part(
        self,
        part: MeshPart,
        matrix: Array,
        label: int,
        instance: tuple[str, str],
        skin: Skin,
        retro: float,
        context: str,
    ) -> None:
        if self._columns.face_count + len(part.faces) > _MAX_FACES:
            raise WorldError(f"{context}: the world has more than {_MAX_FACES:,} triangles; make it smaller")
        placed = place(part, matrix, skin.both_sides, context)
        if placed.dropped:
            self.notes.add(f"{instance[1] or instance[0]}: {placed.dropped} triangles without area were left out")
        if len(placed.faces):
            self._columns.add(placed, label, instance, skin, retro)


class _Columns:
    """The scene's arrays in pieces, and the numbers of its materials and instances."""

    def __init__(self) -> None:
        self.face_count = 0
        self.instances: list[str] = []
        self._vertex_count = 0
        self._pieces: dict[str, list[NDArray[Any]]] = {k: [] for k in ("vertices", "faces", "uv", "normals")}
        self._counts: list[int] = []
        self._values: list[tuple[int, int, int]] = []  # class, instance, material of a piece's faces
        self._skins: list[tuple[Skin, float]] = []
        self._skin_index: dict[tuple[int, float], int] = {}
        self._instance_index: dict[tuple[str, str], int] = {}

    def add(self, placed: Placed, label: int, instance: tuple[str, str], skin: Skin, retro: float) -> None:
        placed.faces += np.int32(self._vertex_count)
        for name, pieces in self._pieces.items():
            pieces.append(getattr(placed, name))
        self._vertex_count += len(placed.vertices)
        self.face_count += len(placed.faces)
        self._counts.append(len(placed.faces))
        self._values.append((label, self._instance(instance), self._material(skin, retro)))

    def joined(self) -> Scene:
        """Piece after piece; each column's pieces are let go before the next is joined."""
        counts = np.array(self._counts, np.int64)
        values = np.array(self._values, np.int64).reshape(-1, 3)

        def column(name: str, shape: tuple[int, ...], kind: type) -> NDArray[Any]:
            pieces = self._pieces.pop(name)
            if len(pieces) == 1:
                return pieces[0]
            return np.concatenate(pieces) if pieces else np.zeros(shape, kind)

        return Scene(
            vertices=column("vertices", (0, 3), np.float32),
            faces=column("faces", (0, 3), np.int32),
            face_class=np.repeat(values[:, 0].astype(np.uint8), counts),
            face_instance=np.repeat(values[:, 1].astype(np.uint16), counts),
            face_material=np.repeat(values[:, 2].astype(np.int32), counts),
            uv=column("uv", (0, 3, 2), np.float32),
            normals=column("normals", (0, 3, 3), np.float32),
            materials=[
                Material(skin.name, skin.colour, skin.picture() if skin.picture else None, retro)
                for skin, retro in self._skins
            ],
            instances=self.instances,
        )

    def _instance(self, key: tuple[str, str]) -> int:
        if key not in self._instance_index:
            if len(self.instances) >= _MAX_INSTANCES:
                return 0
            self.instances.append(key[1] or key[0])
            self._instance_index[key] = len(self.instances)
        return self._instance_index[key]

    def _material(self, skin: Skin, retro: float) -> int:
        key = (id(skin), retro)  # the list keeps the skin, and so its id
        if key not in self._skin_index:
            self._skin_index[key] = len(self._skins)
            self._skins.append((skin, retro))
        return self._skin_index[key]
