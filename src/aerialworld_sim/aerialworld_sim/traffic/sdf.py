"""The same traffic for Gazebo: SDF `<actor>`s on scripted trajectories, and the meshes of their bodies.

gz-sim moves an actor along its `<trajectory>`, with a skeleton or without. Its body is its skin, a mesh without bones,
and its class a Label plugin of the actor itself: gz-sim 8 loads no plugin of what lies in an actor's links, and its
class camera looks for the label of the very visual that it draws (SdfEntityCreator, RenderUtil). That a skin has no
skeleton is warned of once each, and harmless. Between waypoints it goes along a Catmull-Rom spline that is uniform in
the number of the waypoint (gz-common `PoseAnimation`, gz-math `Spline`), so waypoints are evenly spaced in time. It
sorts them by whole milliseconds, cut off, not rounded. Building the spline costs the square of the number of
waypoints: minutes, not hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from aerialworld_core.errors import InputError
from aerialworld_core.files import write_bytes
from aerialworld_core.frames import Array, rpy_from_rotation
from aerialworld_core.world.scene import Scene
from aerialworld_sim.motion import rotations
from aerialworld_sim.textures import srgb_from_linear
from aerialworld_sim.traffic.traffic import Traffic

#: Seconds between waypoints: a spline through them departs from the motion by millimetres (at full braking, 2 cm).
SPACING = 0.2
#: Longest script, seconds.
LONGEST = 600.0
#: What makes the whole milliseconds that gz-sim cuts off the right ones, seconds.
_NUDGE = 1e-5


def export(
    traffic: Traffic, folder: Path, duration: float, on_second: Callable[[int], None] = lambda done: None
) -> Path:
    """Write `traffic.sdf` (a world's part: actors and parked models) and `meshes/` into `folder`; returns the file.

    `duration` seconds from stamp 0 are scripted; the script does not loop, and the actors stand at its end. Raises
    InputError for a duration that is none or too long.
    """
    if not SPACING <= duration <= LONGEST:
        raise InputError(f"traffic export: {duration:g} s is not between {SPACING:g} and {LONGEST:g} seconds")
    count = int(np.ceil(duration / SPACING - 1e-9)) + 1
    poses = np.empty((count, len(traffic.members), 6))
    for k in range(count):
        poses[k] = _poses(traffic, k)
        on_second(int(k * SPACING))
    times = np.arange(count) * np.float64(SPACING)
    names = write_meshes(
        ((m.kind.name, a.body) for m, a in zip(traffic.members, traffic.actors, strict=True)), folder / "meshes"
    )
    parts = [
        _model(m.name, m.kind.label, names[id(a.body)], poses[0, i])
        if m.parked is not None
        else _actor(m.name, m.kind.label, names[id(a.body)], times, poses[:, i])
        for i, (m, a) in enumerate(zip(traffic.members, traffic.actors, strict=True))
    ]
    path = folder / "traffic.sdf"
    body = "\n".join(parts)
    write_bytes(
        path,
        f'<?xml version="1.0"?>\n<sdf version="1.10">\n<world name="traffic">\n{body}\n</world>\n</sdf>\n'.encode(),
    )
    return path


def join_world(world_sdf: Path, traffic_sdf: Path, out: Path) -> Path:
    """Write `out`: the world of `world_sdf` with everything in the `<world>` of `traffic_sdf` put before its end.

    Raises InputError for a world file without a single `</world>`.
    """
    world, traffic = (p.read_text(encoding="utf-8") for p in (world_sdf, traffic_sdf))
    if world.count("</world>") != 1:
        raise InputError(f"{world_sdf}: has {world.count('</world>')} ends of a <world>; need one")
    inner = traffic.split('<world name="traffic">', 1)[1].rsplit("</world>", 1)[0]
    head, tail = world.split("</world>")
    write_bytes(out, f"{head}{inner}</world>{tail}".encode())
    return out


def _poses(traffic: Traffic, k: int) -> Array:
    """(N, 6) x, y, z, roll, pitch, yaw of all members at waypoint `k`."""
    shot = traffic.snapshot(round(k * SPACING * 1e9))
    angles = np.array([rpy_from_rotation(r) for r in rotations(shot.orientation)]).reshape(-1, 3)
    return np.concatenate([shot.position, angles], axis=1)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{v:.5f}" for v in values)


def _file(mesh: str) -> str:
    return f"meshes/{escape(mesh)}.obj"


def _label(label: int) -> str:
    return f'<plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>{label}</label></plugin>'


def _model(name: str, label: int, mesh: str, pose: Array) -> str:
    return (
        f"<model name={quoteattr(name)}><static>true</static><pose>{_numbers(pose)}</pose>"
        f'<link name="link"><visual name="body"><geometry><mesh><uri>{_file(mesh)}</uri></mesh></geometry>'
        f"{_label(label)}</visual></link></model>"
    )


def _actor(name: str, label: int, mesh: str, times: Array, poses: Array) -> str:
    """An actor; headings go on from waypoint to waypoint without jumping by a turn."""
    angles = np.unwrap(poses[:, 3:], axis=0)
    lines = [
        f"<waypoint><time>{t + _NUDGE:.5f}</time><pose>{_numbers((*p[:3], *a))}</pose></waypoint>"
        for t, p, a in zip(times, poses, angles, strict=True)
    ]
    return (
        f"<actor name={quoteattr(name)}><skin><filename>{_file(mesh)}</filename></skin>{_label(label)}"
        "<script><loop>false</loop><delay_start>0</delay_start><auto_start>true</auto_start>\n"
        '<trajectory id="0" type="drive" tension="0">\n' + "\n".join(lines) + "\n</trajectory></script></actor>"
    )


def write_meshes(bodies: Iterable[tuple[str, Scene]], folder: Path) -> dict[int, str]:
    """An OBJ and its materials in `folder` for each body, which may come with its kind more than once; the name of each
    file without its suffix, by the body's id."""
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    for kind, body in bodies:
        if id(body) in names:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        name = names[id(body)] = f"{kind}_{counts[kind]}"
        obj, mtl = _obj(body, name)
        write_bytes(folder / f"{name}.obj", obj.encode())
        write_bytes(folder / f"{name}.mtl", mtl.encode())
    return names


def _obj(scene: Scene, name: str) -> tuple[str, str]:
    """Wavefront OBJ (z up, as gz-sim reads it, with normals: without them meshes render white) and its MTL."""
    obj = [f"mtllib {name}.mtl", f"o {name}"]
    obj += [f"v {_numbers(v)}" for v in scene.vertices]
    normals = scene.normals[:, 0]
    obj += [f"vn {_numbers(n)}" for n in normals]
    for material in range(len(scene.materials)):
        obj.append(f"usemtl {scene.materials[material].name}")
        for face in np.flatnonzero(scene.face_material == material):
            obj.append("f " + " ".join(f"{v + 1}//{face + 1}" for v in scene.faces[face]))
    mtl = []
    for m in scene.materials:
        srgb = srgb_from_linear(m.colour)
        mtl.append(f"newmtl {m.name}\nKa {_numbers(srgb)}\nKd {_numbers(srgb)}\nKs 0.02 0.02 0.02\nNs 10\nd 1\n")
    return "\n".join(obj) + "\n", "\n".join(mtl)
