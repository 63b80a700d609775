"""The materials of a COLLADA file: its effects' diffuse colour or texture."""

from __future__ import annotations

from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.world.mesh import ImageFinder, Picture, Skin
from aerialworld_core.world.sdf import Notes, parse_colour


class ColladaSkins:
    """Looks materials up by url; `by_id` are the file's elements."""

    def __init__(self, by_id: dict[str, Any], context: str, notes: Notes, find_image: ImageFinder | None) -> None:
        self.by_id, self.context, self.notes, self.find_image = by_id, context, notes, find_image
        self._skins: dict[str, Skin | None] = {}

    def skin(self, url: str | None) -> Skin | None:
        """The skin of a `<material>`; None, and a note where it is missing, when it says nothing about colour."""
        key = (url or "").removeprefix("#")
        if key not in self._skins:
            self._skins[key] = self._read(key)
        return self._skins[key]

    def _read(self, key: str) -> Skin | None:
        material = self.by_id.get(key)
        instance = material.find("instance_effect") if material is not None else None
        effect = self.by_id.get(instance.get("url", "").removeprefix("#")) if instance is not None else None
        if material is None or effect is None or effect.tag != "effect":
            self.notes.add(f"{self.context}: material {key!r} is not in the file: shown grey")
            return None
        technique = effect.find("profile_COMMON/technique")
        models = [] if technique is None else [m for m in technique if m.tag in ("lambert", "phong", "blinn")]
        if not models:
            self.notes.add(f"{self.context}: effect {effect.get('id')} has no lambert, phong or blinn: shown grey")
            return None
        model = models[0]
        self._tell(model)
        name = material.get("name") or key
        diffuse = model.find("diffuse")
        texture = diffuse.find("texture") if diffuse is not None else None
        if texture is not None:
            return Skin(name, np.ones(3, np.float32), self._picture(effect, texture.get("texture") or ""))
        colour = diffuse.find("color") if diffuse is not None else None
        if colour is None:
            return None
        values = parse_colour(colour.text, f"{self.context}: material {name}: <color>")
        return Skin(name, values.astype(np.float32))

    def _tell(self, model: Any) -> None:
        emission = (model.findtext("emission/color") or "").split()[:3]
        if model.find("emission/texture") is not None or any(word.strip("0.") for word in emission):
            self.notes.add(f"{self.context}: <emission> is not shown")
        if model.find("transparent/texture") is not None:
            self.notes.add(f"{self.context}: <transparent> is shown as opaque")

    def _picture(self, effect: Any, name: str) -> Picture | None:
        """From a texture's sampler over its surface to the image's file; an image's id will do as well."""
        params = {p.get("sid"): p for p in effect.iter("newparam")}
        for path in ("sampler2D/source", "surface/init_from"):
            if name in params:
                name = (params[name].findtext(path) or "").strip()
        image = self.by_id.get(name)
        file = None
        if image is not None and image.tag == "image":
            file = (image.findtext("init_from/ref") or image.findtext("init_from") or "").strip()
        if not file:
            raise WorldError(f"{self.context}: effect {effect.get('id')}: its texture {name!r} names no image file")
        if self.find_image is None:
            self.notes.add(f"{self.context}: its image {file!r} is not shown")
            return None
        return self.find_image(file)
