"""The models of an SDF document, includes followed, and where each of their links stands.

Pose semantics as in SDFormat ≥ 1.7: `relative_to` and `attached_to` name a link, frame, joint or nested model of the
same scope, or `model::name` of one nested in it; without them a pose is in the frame that contains the element.
`<include merge="true">` puts the links of a model into its parent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.world.sdf import (
    Document,
    Notes,
    boolean,
    inverse,
    parse_numbers,
    pose_matrix,
    read_document,
    text_of,
    where,
)
from aerialworld_core.world.uris import Files, Resolved

_MAX_DEPTH = 16
_MAX_MODELS = 20_000
_OWN_FRAME = ("", "__model__", "__root__", "world")


@dataclass(eq=False)
class PlacedLink:
    """A link and where it stands: `matrix` 4×4 takes link coordinates to the root frame (map, or the root model's).
    `model` is the scoped name of its model, `label` the class that the nearest Label plugin above it gives."""

    model: str
    element: Any
    document: Document
    matrix: Array
    label: int | None
    scope: Model
    scope_matrix: Array

    def place(self, pose: Any | None) -> Array:
        """4×4 in the root frame of something in this link with that `<pose>` (or none)."""
        at = self.matrix
        relative = pose.get("relative_to") if pose is not None else None
        if relative:
            at = self.scope_matrix @ self.scope.matrix(relative, where(self.document, pose))
        return at @ pose_matrix(self.document, pose)


class Model:
    """A `<model>` or `<world>` element with everything below it; `frames` are the names that poses may refer to,
    `nested` the models whose names may stand before `::`."""

    def __init__(
        self, document: Document, element: Any, files: Files, notes: Notes, above: tuple[Path, ...] = (), depth: int = 0
    ) -> None:
        if depth > _MAX_DEPTH:
            raise WorldError(f"{where(document, element)}: models are nested more than {_MAX_DEPTH} deep")
        files.models += 1
        if files.models > _MAX_MODELS:
            raise WorldError(f"{where(document, element)}: the world has more than {_MAX_MODELS} models")
        self.document = document
        self.element = element
        self.children: list[Child] = []
        above = (*above, document.real) if document.real not in above else above
        for child in element:
            if child.tag == "model":
                model = Model(document, child, files, notes, above, depth + 1)
                self.children.append(Child(model, document, child, child.find("pose"), document))
            elif child.tag == "include":
                found = _include(document, child, files, notes, above)
                if found is not None:
                    model = Model(*found, files, notes, above, depth + 1)
                    self.children.append(_included(model, document, child))
        self.nested: dict[str, Model] = {}
        for one in self.children:
            self.nested.update(one.model.nested if one.merge else {one.name: one.model})
        self.frames = self._frames()

    def matrix(self, name: str, context: str, seen: tuple[str, ...] = ()) -> Array:
        """4×4 of a named frame in this model's frame. Raises WorldError for unknown names and circles."""
        if name in _OWN_FRAME:
            return np.eye(4)
        outer, _, inner = name.partition("::")
        if inner and outer in self.nested:
            return self.matrix(outer, context, seen) @ self.nested[outer].matrix(inner, context)
        if name not in self.frames:
            raise WorldError(
                f"{context}: relative_to {name!r}: no such link, frame or model in {where(self.document, self.element)}"
            )
        if name in seen:
            raise WorldError(f"{context}: relative_to: {' → '.join((*seen, name))} is a circle")
        parent, pose = self.frames[name]
        return self.matrix(parent, context, (*seen, name)) @ pose

    def links(self, matrix: Array, name: str = "", label: int | None = None) -> Iterator[PlacedLink]:
        """Every link below, depth first; `matrix` is this model's frame in the root's."""
        label = label_of(self.document, self.element, label)
        for link in self.element.findall("link"):
            at = matrix @ self.matrix(link.get("name", ""), where(self.document, link))
            yield PlacedLink(name, link, self.document, at, label, self, matrix)
        for child in self.children:
            at = matrix @ self.matrix(child.key, where(child.document, child.element))
            below = name if child.merge else f"{name}::{child.name}" if name else child.name
            yield from child.model.links(at, below, label)

    def _frames(self) -> dict[str, tuple[str, Array]]:
        frames: dict[str, tuple[str, Array]] = {}

        def add(name: str | None, parent: str, pose: Array, element: Any) -> None:
            if not name:
                raise WorldError(f"{where(self.document, element)}: has no name")
            if name in frames:
                raise WorldError(f"{where(self.document, element)}: the name {name!r} is used twice in its model")
            frames[name] = (parent, pose)

        for tag in ("link", "frame", "joint"):
            for element in self.element.findall(tag):
                default = ""
                if tag == "frame":
                    default = element.get("attached_to") or ""
                elif tag == "joint":
                    default = text_of(element, "child") or ""
                pose = element.find("pose")
                parent = (pose.get("relative_to") if pose is not None else None) or default
                add(element.get("name"), parent, pose_matrix(self.document, pose), element)
        for child in self.children:
            parent = (child.pose.get("relative_to") or "") if child.pose is not None else ""
            add(child.key, parent, child.matrix(where(child.document, child.element)), child.element)
            if child.merge:
                for name in child.model.frames:
                    at = child.model.matrix(name, where(child.document, child.element))
                    add(name, child.key, at, child.element)
        return frames


@dataclass(eq=False)
class Child:
    """A nested or included model in its parent. `pose` lies in `pose_document` (the include's, or the model's own)."""

    model: Model
    document: Document
    element: Any
    pose: Any | None
    pose_document: Document
    placement: str | None = None
    merge: bool = False
    static: bool | None = None

    def __post_init__(self) -> None:
        if self.element.tag == "model":
            self.placement = self.element.get("placement_frame")

    @property
    def name(self) -> str:
        own = text_of(self.element, "name") if self.element.tag == "include" else None
        return own or str(self.model.element.get("name", ""))

    @property
    def key(self) -> str:
        """Its name among the frames of the parent; a merged model has none there of its own."""
        return f"__merged__{self.name}" if self.merge else self.name

    def matrix(self, context: str) -> Array:
        """4×4 of the model in the frame that its pose is relative to: its placement frame is what stands there."""
        pose = pose_matrix(self.pose_document, self.pose)
        return pose @ inverse(self.model.matrix(self.placement, context)) if self.placement else pose

    @property
    def is_static(self) -> bool:
        if self.static is not None:
            return self.static
        return boolean(self.model.document, self.model.element, "static", False)


def label_of(document: Document, element: Any, default: int | None) -> int | None:
    """The class that a Label plugin gives a model or visual; `default` where there is none."""
    for plugin in element.findall("plugin"):
        if plugin.get("name", "").split("::")[-1] == "Label" or "label-system" in plugin.get("filename", ""):
            context = where(document, plugin)
            value = float(parse_numbers(text_of(plugin, "label"), 1, f"{context}: <label>")[0])
            if not value.is_integer() or not 0 <= value <= 255:
                raise WorldError(f"{context}: label {value:g} is not a whole number from 0 to 255")
            return int(value)
    return default


def _included(model: Model, document: Document, element: Any) -> Child:
    """An include's own pose, placement frame and static flag replace the model's."""
    pose, pose_document = element.find("pose"), document
    if pose is None:
        pose, pose_document = model.element.find("pose"), model.document
    return Child(
        model,
        document,
        element,
        pose,
        pose_document,
        placement=text_of(element, "placement_frame") or model.element.get("placement_frame"),
        merge=element.get("merge", "false").lower() in ("true", "1"),
        static=boolean(document, element, "static", False) if element.find("static") is not None else None,
    )


def _include(
    document: Document, element: Any, files: Files, notes: Notes, above: tuple[Path, ...]
) -> tuple[Document, Any] | None:
    """The document and model element that an `<include>` means; None (and a note) for what is no model."""
    context = where(document, element)
    resolved = files.resolve(document, text_of(element, "uri") or "", context)
    path, name = resolved.path, resolved.name
    if path.is_dir():
        path = path / "model.sdf"
        name = f"{name}/model.sdf"
        if not path.is_file():
            raise WorldError(f"{context}: {resolved.path} holds no model.sdf")
    files.use(Resolved(path, resolved.root, name))
    inner = files.documents.get(path) or read_document(path, resolved.root, name)
    if inner.real in above:
        raise WorldError(f"{context}: {resolved.name} includes itself")
    files.documents[path] = inner
    models = inner.element.findall("model")
    if len(models) == 1:
        return inner, models[0]
    if not models and len(inner.element):
        notes.add(f"{name}: a <{inner.element[0].tag}> is not read")
        return None
    raise WorldError(f"{path}: holds {len(models)} models, an <include> needs one")
