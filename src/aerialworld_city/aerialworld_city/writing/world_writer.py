"""SDF 1.10: the world with its systems, sun and includes, and the models of meshes and heightmaps; names for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from aerialworld_city.kinds import Kind
from aerialworld_core.frames import Georeference

#: The sun of the late morning: from the south-east, 50° high. The way light travels, map.
SUN_DIRECTION = (-0.45, 0.45, -0.77)


_PLUGINS = (
    ("physics", "Physics"),
    ("sensors", "Sensors"),
    ("scene-broadcaster", "SceneBroadcaster"),
    ("user-commands", "UserCommands"),
    ("imu", "Imu"),
    ("navsat", "NavSat"),
)


def safe_name(text: str, fallback: str = "city") -> str:
    """A name that SDF, files and model:// URIs take: ASCII letters, digits, `_`, `-` and `.`, not led by a sign."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:80]
    return name or fallback


def unique_names(texts: Iterable[str], fallback: str = "model") -> list[str]:
    """A safe name for each text, different from all others even where a file system ignores case."""
    taken: set[str] = set()
    names: list[str] = []
    counts: dict[str, int] = {}
    for text in texts:
        base = safe_name(text, fallback)
        name = base
        while name.casefold() in taken:
            counts[base.casefold()] = counts.get(base.casefold(), 1) + 1
            name = f"{base}_{counts[base.casefold()]}"
        taken.add(name.casefold())
        names.append(name)
    return names


def model_sdf(name: str, kind: Kind, mesh: str, collision: str | None = None) -> bytes:
    """One static model with one visual, the mesh file `mesh`, and a collision where there is a mesh file for it."""
    touch = ""
    if collision is not None:
        touch = f"""
      <collision name="collision">
        {_mesh_geometry(collision)}
      </collision>"""
    return _model(name, kind, _mesh_geometry(mesh), touch)


def heightmap_sdf(
    name: str, kind: Kind, image: str, texture: tuple[str, str, float], visual: Heightmap, collision: Heightmap | None
) -> bytes:
    """One static model whose ground is a heightmap. `image` is its picture, `texture` colour and normal picture and how
    many metres one repeat covers; `visual` and `collision` say where Gazebo has to put it."""
    colour, normal, metres = texture
    shape = f"""<geometry>
          <heightmap>
            <uri>{escape(image)}</uri>
            <size>{_numbers(visual.size)}</size>
            <pos>{_numbers(visual.position)}</pos>
            <texture>
              <size>{metres:g}</size>
              <diffuse>{escape(colour)}</diffuse>
              <normal>{escape(normal)}</normal>
            </texture>
            <sampling>1</sampling>
          </heightmap>
        </geometry>"""
    touch = ""
    if collision is not None:
        touch = f"""
      <collision name="collision">
        <pose>{_numbers(collision.position)} 0 0 0</pose>
        <geometry>
          <heightmap>
            <uri>{escape(image)}</uri>
            <size>{_numbers(collision.size)}</size>
            <sampling>1</sampling>
          </heightmap>
        </geometry>
      </collision>"""
    return _model(name, kind, shape, touch)


@dataclass(frozen=True)
class Heightmap:
    """Extent along x, y, z and position of a heightmap, metres."""

    size: tuple[float, float, float]
    position: tuple[float, float, float]


def _numbers(values: Iterable[float]) -> str:
    """Plain decimals, without exponents."""
    return " ".join(f"{float(v):.9f}".rstrip("0").rstrip(".") for v in values)


def _mesh_geometry(uri: str) -> str:
    return f"<geometry><mesh><uri>{escape(uri)}</uri></mesh></geometry>"


def _model(name: str, kind: Kind, geometry: str, collision: str) -> bytes:
    return f"""<?xml version="1.0"?>
<sdf version="1.10">
  <model name={quoteattr(name)}>
    <static>true</static>
    <link name="link">
      <visual name="visual">
        {geometry}
        <laser_retro>{kind.laser_retro:g}</laser_retro>
        <plugin filename="gz-sim-label-system" name="gz::sim::systems::Label">
          <label>{kind.label}</label>
        </plugin>
      </visual>{collision}
    </link>
  </model>
</sdf>
""".encode()


def model_config(name: str) -> bytes:
    """Gazebo finds a model folder by this file."""
    return f"""<?xml version="1.0"?>
<model>
  <name>{escape(name)}</name>
  <version>1.0</version>
  <sdf version="1.10">model.sdf</sdf>
</model>
""".encode()


def world_sdf(name: str, georeference: Georeference, models: list[str]) -> bytes:
    """The world: systems, sun and sky, the georeference, one include per model."""
    plugins = "\n".join(
        f'    <plugin filename="gz-sim-{file}-system" name="gz::sim::systems::{system}">'
        + ("<render_engine>ogre2</render_engine>" if system == "Sensors" else "")
        + "</plugin>"
        for file, system in _PLUGINS
    )
    includes = "\n".join(
        f"    <include><name>{escape(m)}</name><uri>model://{escape(m)}</uri></include>" for m in models
    )
    direction = " ".join(f"{v:g}" for v in SUN_DIRECTION)
    return f"""<?xml version="1.0"?>
<!-- Models are found below models/: set GZ_SIM_RESOURCE_PATH to that folder for Gazebo. -->
<sdf version="1.10">
  <world name={quoteattr(name)}>
    <physics name="step" type="ignored">
      <max_step_size>0.001</max_step_size>
      <real_time_factor>1.0</real_time_factor>
    </physics>
{plugins}
    <gravity>0 0 -9.8</gravity>
    <spherical_coordinates>
      <surface_model>EARTH_WGS84</surface_model>
      <world_frame_orientation>ENU</world_frame_orientation>
      <latitude_deg>{georeference.latitude!r}</latitude_deg>
      <longitude_deg>{georeference.longitude!r}</longitude_deg>
      <elevation>{georeference.height!r}</elevation>
      <heading_deg>0</heading_deg>
    </spherical_coordinates>
    <scene>
      <ambient>0.8 0.85 0.95 1</ambient>
      <background>0.45 0.62 0.85 1</background>
      <shadows>true</shadows>
    </scene>
    <light name="sun" type="directional">
      <pose>0 0 500 0 0 0</pose>
      <cast_shadows>true</cast_shadows>
      <diffuse>0.9 0.87 0.8 1</diffuse>
      <specular>0.1 0.1 0.1 1</specular>
      <direction>{direction}</direction>
    </light>
{includes}
  </world>
</sdf>
""".encode()
