"""Is a file SDF 1.10? The structure of the elements that the city room writes, from the SDFormat 1.10 specification.

Each element: attributes (name → type and whether it must be there), children (name → how often: "1" at most once and
wanted, "?" at most once, "*" any number, "+" at least once; SDF fills in most missing "1"s, so those that Gazebo cannot
do without are in `NEEDED`), and the type of its text. Unlike `gz sdf --check`, an unknown element is an error.
"""

from __future__ import annotations

import re
from pathlib import Path

from lxml import etree

NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"
TYPES = {
    "string": re.compile(r"[\s\S]*\S[\s\S]*"),
    "bool": re.compile(r"true|false|0|1"),
    "double": re.compile(NUMBER),
    "int": re.compile(r"[-+]?\d+"),
    "unsigned int": re.compile(r"\d+"),
    "vector3": re.compile(rf"{NUMBER}(\s+{NUMBER}){{2}}"),
    "color": re.compile(r"\+?(\d+(\.\d*)?|\.\d+)(\s+(\d+(\.\d*)?|\.\d+)){3}"),
    "pose": re.compile(rf"{NUMBER}(\s+{NUMBER}){{5}}"),
}


def leaf(kind):
    return {"text": kind}


def node(children, /, **attributes):
    return {"children": children, "attributes": attributes}


POSE = {
    "text": "pose",
    "attributes": {"relative_to": ("string", False), "rotation_format": ("string", False), "degrees": ("bool", False)},
}
PLUGIN = {"any": True, "attributes": {"name": ("string", False), "filename": ("string", True)}}
HEIGHTMAP = node(
    {
        "uri": ("1", leaf("string")),
        "size": ("?", leaf("vector3")),
        "pos": ("?", leaf("vector3")),
        "texture": (
            "*",
            node({"size": ("1", leaf("double")), "diffuse": ("1", leaf("string")), "normal": ("1", leaf("string"))}),
        ),
        "blend": ("*", node({"min_height": ("1", leaf("double")), "fade_dist": ("1", leaf("double"))})),
        "use_terrain_paging": ("?", leaf("bool")),
        "sampling": ("?", leaf("unsigned int")),
    }
)
MESH = node(
    {
        "uri": ("1", leaf("string")),
        "submesh": ("?", node({"name": ("1", leaf("string")), "center": ("?", leaf("bool"))})),
        "scale": ("?", leaf("vector3")),
    }
)
GEOMETRY = node({"empty": ("?", node({})), "mesh": ("?", MESH), "heightmap": ("?", HEIGHTMAP)})
VISUAL = node(
    {
        "cast_shadows": ("?", leaf("bool")),
        "laser_retro": ("?", leaf("double")),
        "transparency": ("?", leaf("double")),
        "visibility_flags": ("?", leaf("unsigned int")),
        "pose": ("?", POSE),
        "geometry": ("1", GEOMETRY),
        "plugin": ("*", PLUGIN),
    },
    name=("string", True),
)
COLLISION = node(
    {
        "laser_retro": ("?", leaf("double")),
        "max_contacts": ("?", leaf("int")),
        "pose": ("?", POSE),
        "geometry": ("1", GEOMETRY),
    },
    name=("string", True),
)
LINK = node(
    {
        "gravity": ("?", leaf("bool")),
        "kinematic": ("?", leaf("bool")),
        "pose": ("?", POSE),
        "collision": ("*", COLLISION),
        "visual": ("*", VISUAL),
    },
    name=("string", True),
)
MODEL = node(
    {
        "static": ("?", leaf("bool")),
        "self_collide": ("?", leaf("bool")),
        "allow_auto_disable": ("?", leaf("bool")),
        "pose": ("?", POSE),
        "link": ("*", LINK),
        "plugin": ("*", PLUGIN),
        "enable_wind": ("?", leaf("bool")),
    },
    name=("string", True),
    canonical_link=("string", False),
    placement_frame=("string", False),
)
INCLUDE = node(
    {
        "uri": ("1", leaf("string")),
        "name": ("?", leaf("string")),
        "static": ("?", leaf("bool")),
        "pose": ("?", POSE),
        "plugin": ("*", PLUGIN),
        "placement_frame": ("?", leaf("string")),
    },
    merge=("bool", False),
)
PHYSICS = node(
    {
        "max_step_size": ("1", leaf("double")),
        "real_time_factor": ("1", leaf("double")),
        "real_time_update_rate": ("1", leaf("double")),
        "max_contacts": ("?", leaf("int")),
    },
    name=("string", False),
    default=("bool", False),
    type=("string", True),
)
SCENE = node(
    {
        "ambient": ("1", leaf("color")),
        "background": ("1", leaf("color")),
        "shadows": ("1", leaf("bool")),
        "grid": ("?", leaf("bool")),
        "origin_visual": ("?", leaf("bool")),
    }
)
LIGHT = node(
    {
        "cast_shadows": ("?", leaf("bool")),
        "light_on": ("?", leaf("bool")),
        "visualize": ("?", leaf("bool")),
        "intensity": ("?", leaf("double")),
        "pose": ("?", POSE),
        "diffuse": ("?", leaf("color")),
        "specular": ("?", leaf("color")),
        "direction": ("1", leaf("vector3")),
    },
    name=("string", True),
    type=("string", True),
)
SPHERICAL = node(
    {
        "surface_model": ("1", leaf("string")),
        "world_frame_orientation": ("?", leaf("string")),
        "latitude_deg": ("1", leaf("double")),
        "longitude_deg": ("1", leaf("double")),
        "elevation": ("1", leaf("double")),
        "heading_deg": ("1", leaf("double")),
    }
)
WORLD = node(
    {
        "include": ("*", INCLUDE),
        "gravity": ("1", leaf("vector3")),
        "magnetic_field": ("1", leaf("vector3")),
        "physics": ("+", PHYSICS),
        "scene": ("1", SCENE),
        "light": ("*", LIGHT),
        "model": ("*", MODEL),
        "plugin": ("*", PLUGIN),
        "spherical_coordinates": ("?", SPHERICAL),
    },
    name=("string", True),
)
SDF = node({"world": ("*", WORLD), "model": ("?", MODEL), "light": ("?", LIGHT)}, version=("string", True))

#: What sdformat and Gazebo do not fill in by themselves.
NEEDED = {
    "include": ("uri",),
    "visual": ("geometry",),
    "collision": ("geometry",),
    "mesh": ("uri",),
    "heightmap": ("uri",),
    "physics": ("max_step_size", "real_time_factor"),
    "spherical_coordinates": ("latitude_deg", "longitude_deg", "elevation", "heading_deg"),
    "world": ("physics", "gravity", "scene"),
    "light": ("direction",),
}
LABEL = "gz::sim::systems::Label"


def problems(path: Path) -> list[str]:
    """What is not SDF 1.10 in a file, with line numbers; empty when all is well."""
    root = etree.parse(str(path), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    found: list[str] = []
    if root.tag != "sdf" or root.get("version") != "1.10":
        found.append(f"{path}: is <{root.tag} version={root.get('version')}>, not <sdf version=1.10>")
    _check(root, SDF, str(path), found)
    for scope in root.iter("world", "model", "link"):
        names = [e.get("name") or e.findtext("name") for e in scope if e.tag in _NAMED]
        for name in {n for n in names if names.count(n) > 1}:
            found.append(f"{path}:{scope.sourceline}: {name!r} is used twice in one <{scope.tag}>")
        found += [
            f"{path}: {n!r} is reserved"
            for n in names
            if n and ("::" in n or (n.startswith("__") and n.endswith("__")))
        ]
    for plugin in root.iter("plugin"):
        if plugin.get("name") == LABEL and not TYPES["unsigned int"].fullmatch(plugin.findtext("label") or ""):
            found.append(f"{path}:{plugin.sourceline}: Label without a number")
    return found


_NAMED = ("model", "include", "frame", "joint", "link", "visual", "collision", "light")


def world_problems(folder: Path) -> list[str]:
    """The same of a whole world folder; every include and mesh has to be there as well."""
    world = folder / "world.sdf"
    found = problems(world)
    root = etree.parse(str(world), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    included = [e.text for e in root.iterfind("world/include/uri")]
    for uri in included:
        model = folder / "models" / uri.removeprefix("model://")
        if not uri.startswith("model://") or not (model / "model.sdf").is_file():
            found.append(f"{world}: {uri}: no such model")
            continue
        found += problems(model / "model.sdf") + _config_problems(model)
        tree = etree.parse(str(model / "model.sdf"), etree.XMLParser(resolve_entities=False)).getroot()
        for reference in [*tree.iter("uri"), *tree.iter("diffuse"), *tree.iter("normal")]:
            if not (model / reference.text).is_file() or ".." in reference.text:
                found.append(f"{model}: {reference.text}: no such file")
    there = {p.name for p in (folder / "models").iterdir()}
    found += [f"{folder}: models/{name} is not included" for name in there - {u[8:] for u in included}]
    return found


def _config_problems(model: Path) -> list[str]:
    config = etree.parse(str(model / "model.config"), etree.XMLParser(resolve_entities=False)).getroot()
    named = config.findtext("sdf")
    if config.tag != "model" or not config.findtext("name") or not named or not (model / named).is_file():
        return [f"{model}/model.config: names no model file"]
    return [] if config.find("sdf").get("version") == "1.10" else [f"{model}/model.config: another SDF version"]


def _check(element, rule, path, found):
    context = f"{path}:{element.sourceline}: <{element.tag}>"
    attributes = rule.get("attributes", {})
    for name, value in element.attrib.items():
        if name not in attributes:
            found.append(f"{context}: unknown attribute {name}")
        elif not TYPES[attributes[name][0]].fullmatch(value):
            found.append(f"{context}: {name}={value!r} is no {attributes[name][0]}")
    found += [
        f"{context}: lacks {name}" for name, (_, must) in attributes.items() if must and name not in element.attrib
    ]
    if "text" in rule and not TYPES[rule["text"]].fullmatch((element.text or "").strip()):
        found.append(f"{context}: {element.text!r} is no {rule['text']}")
    if rule.get("any"):
        return
    children = rule.get("children", {})
    counts: dict[str, int] = {}
    for child in element:
        if not isinstance(child.tag, str):  # a comment
            continue
        counts[child.tag] = counts.get(child.tag, 0) + 1
        if child.tag not in children:
            found.append(f"{context}: unknown <{child.tag}>")
            continue
        if counts[child.tag] == 2 and children[child.tag][0] in "1?":
            found.append(f"{context}: <{child.tag}> more than once")
        _check(child, children[child.tag][1], path, found)
    for name in NEEDED.get(element.tag, ()):
        if name in children and name not in counts:
            found.append(f"{context}: lacks <{name}>")
    if "children" in rule and (element.text or "").strip():
        found.append(f"{context}: has text {element.text.strip()!r}")
    if element.tag == "geometry" and sum(counts.values()) != 1:
        found.append(f"{context}: holds {sum(counts.values())} shapes")
