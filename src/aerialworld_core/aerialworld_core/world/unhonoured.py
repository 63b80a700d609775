"""What SDF asks of a world's look and does not get here: every such element is told once, by name.

Elements that ask for what is shown anyway are not told (a visual that casts shadows, transparency 0), nor a material's
`<ambient>` and `<shininess>`, which Gazebo's renderer (ogre2) does not show either.
"""

from __future__ import annotations

from typing import Any

from aerialworld_core.world.sdf import Notes

#: Per element: the children that are honoured or change nothing. Every other child is told.
_HONOURED: dict[str, frozenset[str]] = {
    "visual": frozenset({"pose", "geometry", "material", "laser_retro", "plugin", "visibility_flags", "meta"}),
    "material": frozenset({"diffuse", "pbr", "double_sided", "ambient", "shininess"}),
    "metal": frozenset({"albedo_map"}),
    "specular": frozenset({"albedo_map"}),
    "mesh": frozenset({"uri", "scale", "submesh"}),
    "box": frozenset({"size"}),
    "sphere": frozenset({"radius"}),
    "ellipsoid": frozenset({"radii"}),
    "cylinder": frozenset({"radius", "length"}),
    "cone": frozenset({"radius", "length"}),
    "capsule": frozenset({"radius", "length"}),
    "plane": frozenset({"size", "normal"}),
    "heightmap": frozenset({"uri", "size", "pos", "sampling", "texture", "use_terrain_paging"}),
    "texture": frozenset({"size", "diffuse", "normal"}),  # a normal map that is not flat is told where it is read
    "scene": frozenset({"ambient", "background", "shadows", "sky", "grid", "origin_visual"}),
    "sky": frozenset(),
}
#: Per child: the values that ask for what is shown anyway.
_AS_SHOWN: dict[str, frozenset[str]] = {
    "cast_shadows": frozenset({"true", "1"}),
    "transparency": frozenset({"0"}),
    "lighting": frozenset({"true", "1"}),
    "render_order": frozenset({"0"}),
    "emissive": frozenset({"0 0 0", "0 0 0 1", "0 0 0 0"}),
    "specular": frozenset({"0 0 0", "0 0 0 1", "0 0 0 0"}),
    "roughness": frozenset({"0.5"}),
    "metalness": frozenset({"0"}),
}
_INSTEAD = {
    "transparency": "shown as opaque",
    "script": "material scripts are not read",
    "fog": "not shown",
    "cubemap_uri": "a clear sky is shown",
}


def tell_unread(element: Any, notes: Notes) -> None:
    """Note what `element` (a key of the table above) holds and is not honoured; `<pbr>` is looked into."""
    for child in element:
        tag = child.tag
        if tag == "pbr":
            for workflow in child:
                tell_unread(workflow, notes)
        if tag in _HONOURED[element.tag] or _as_shown(child):
            continue
        notes.add(f"<{element.tag}>: <{tag}> is not honoured" + (f" ({_INSTEAD[tag]})" if tag in _INSTEAD else ""))
    if element.tag == "mesh" and element.get("optimization"):
        notes.add("<mesh>: optimization is not honoured (the mesh is shown as it is)")


def _as_shown(child: Any) -> bool:
    if len(child):
        return False
    words = (child.text or "").lower().split()
    try:
        text = " ".join(f"{float(word):g}" for word in words)
    except ValueError:
        text = " ".join(words)
    return not text or text in _AS_SHOWN.get(child.tag, ())
