"""How fast worlds load, and what memory they take: by stage, beside the least that any reader must do.

    python benchmarks/world.py [WORLD …] [--triangles 2000000] [--repeats 5] [--json FILE]

Every world is measured in processes of their own. `load` is `load_world` (wall and CPU seconds: the first time, and the
best of the repeats; `peak_mib` of a process that does only this). `floor` reads the same files and decodes their
pictures, and nothing else; `ratio` is load over floor, in CPU seconds. `first_height` is the first question for the
height of one point, `height` one of the later ones. `engine` is the process that also builds an engine and renders the
drone's rig once. Besides the given worlds, a city of two million triangles is generated, written as one GLB and loaded.
Wall times suffer from whatever else the machine does: compare CPU seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _figures import add_json_option, tell

from aerialworld_core.provenance import machine, versions

_MODEL = """<sdf version="1.10"><world name="large">
<scene><ambient>0.8 0.85 0.95 1</ambient><background>0.45 0.62 0.85 1</background></scene>
<light name="sun" type="directional"><cast_shadows>true</cast_shadows><direction>-0.45 0.45 -0.77</direction></light>
<model name="city"><static>true</static><link name="link">
<visual name="walls"><geometry><mesh><uri>walls.glb</uri></mesh></geometry>{label_15}</visual>
<visual name="ground"><geometry><mesh><uri>ground.glb</uri></mesh></geometry>{label_14}</visual>
</link></model></world></sdf>
"""
_LABEL = '<plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>{}</label></plugin>'


def write_large(folder: Path, triangles: int) -> None:
    """The city of `benchmarks/engine.py` as a world folder: walls and roofs in one GLB, the ground in another."""
    from engine import large_city

    scene = large_city(triangles).scene
    ground = scene.face_class == 14
    # Walls and roofs come as pairs of triangles that make a quad (a, b, c), (a, c, d).
    quads = scene.faces[~ground].reshape(-1, 2, 3)
    corners = np.column_stack([quads[:, 0], quads[:, 1, 2]])
    pattern = np.array([0, 1, 2, 0, 2, 3], np.uint32)
    index = (np.arange(len(quads), dtype=np.uint32)[:, None] * 4 + pattern).reshape(-1, 3)
    uv, normals = scene.uv[~ground].reshape(-1, 6, 2), scene.normals[~ground].reshape(-1, 6, 3)
    one_each = [0, 1, 2, 5]
    write_glb(
        folder / "walls.glb",
        scene.vertices[corners].reshape(-1, 3),
        normals[:, one_each].reshape(-1, 3),
        uv[:, one_each].reshape(-1, 2),
        index,
        scene.materials[0].texture,
    )
    soup = scene.triangles[ground].reshape(-1, 3)
    index = np.arange(len(soup), dtype=np.uint32).reshape(-1, 3)
    write_glb(
        folder / "ground.glb", soup, scene.normals[ground].reshape(-1, 3), scene.uv[ground].reshape(-1, 2), index, None
    )
    text = _MODEL.format(label_14=_LABEL.format(14), label_15=_LABEL.format(15))
    (folder / "world.sdf").write_text(text, encoding="utf-8")


def write_glb(path: Path, vertices: Any, normals: Any, uv: Any, index: Any, picture: Any | None) -> None:
    """One mesh, with a picture as its base colour."""
    from PIL import Image

    uv = np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)
    arrays = [np.ascontiguousarray(a, t) for a, t in ((vertices, "<f4"), (normals, "<f4"), (uv, "<f4"), (index, "<u4"))]
    blobs = [a.tobytes() for a in arrays]
    material: dict[str, Any] = {"pbrMetallicRoughness": {"baseColorFactor": [0.6, 0.6, 0.6, 1]}}
    document: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}]}
    if picture is not None:
        png = io.BytesIO()
        Image.fromarray(picture).save(png, "PNG")
        blobs.append(png.getvalue())
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
        document.update(images=[{"bufferView": 4, "mimeType": "image/png"}], textures=[{"source": 0}])
    starts = np.cumsum([0, *(len(b) + -len(b) % 4 for b in blobs)]).tolist()
    kinds = (("VEC3", 5126, len(vertices)), ("VEC3", 5126, len(vertices)), ("VEC2", 5126, len(vertices)))
    accessors = [
        {"bufferView": i, "type": kind, "componentType": component, "count": count}
        for i, (kind, component, count) in enumerate((*kinds, ("SCALAR", 5125, index.size)))
    ]
    primitive = {"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}
    document.update(
        nodes=[{"name": path.stem, "mesh": 0}],
        meshes=[{"primitives": [primitive]}],
        accessors=accessors,
        materials=[material],
        buffers=[{"byteLength": starts[-1]}],
        bufferViews=[
            {"buffer": 0, "byteOffset": start, "byteLength": len(blob)}
            for start, blob in zip(starts, blobs, strict=False)
        ],
    )
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    with open(path, "wb") as handle:
        handle.write(struct.pack("<4sIIII", b"glTF", 2, 28 + len(text) + starts[-1], len(text), 0x4E4F534A) + text)
        handle.write(struct.pack("<II", starts[-1], 0x004E4942))
        for blob in blobs:
            handle.write(blob + b"\0" * (-len(blob) % 4))


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def repeated(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        call()


def peak_mib() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure_load(world: Path, repeats: int) -> dict[str, Any]:
    begun = time.perf_counter()
    from aerialworld_core.world import load_world

    imported = time.perf_counter() - begun
    before = peak_mib()
    loaded, wall, cpu = timed(lambda: load_world(world))
    result: dict[str, Any] = {"triangles": len(loaded.scene.faces), "imports_s": round(imported, 3)}
    scene = loaded.scene
    arrays = (scene.vertices, scene.faces, scene.face_class, scene.face_instance, scene.face_material)
    size = sum(a.nbytes for a in (*arrays, scene.uv, scene.normals))
    size += sum(m.texture.nbytes for m in scene.materials if m.texture is not None)
    result["scene_mib"], result["before_mib"], result["peak_mib"] = round(size / 2**20), before, peak_mib()
    point = np.zeros((1, 2))
    height = loaded.terrain_height
    _, height_wall, height_cpu = timed(partial(height, point))
    result["first_height"] = {"wall_s": round(height_wall, 4), "cpu_s": round(height_cpu, 4), "peak_mib": peak_mib()}
    _, _, height_cpu = timed(partial(repeated, partial(height, point), 100))
    result["height_cpu_us"] = round(height_cpu * 1e4, 1)
    del loaded, height, scene, arrays
    rest = [timed(lambda: load_world(world))[1:] for _ in range(repeats)]
    result["load"] = {
        "first": {"wall_s": round(wall, 4), "cpu_s": round(cpu, 4)},
        "best": {"wall_s": round(min(w for w, _ in rest), 4), "cpu_s": round(min(c for _, c in rest), 4)},
    }
    return result


def measure_floor(world: Path, repeats: int) -> dict[str, Any]:
    """Reading the visuals' GLB files, parsing their JSON and decoding their pictures."""
    from PIL import Image

    def read() -> int:
        pixels = 0
        for path in sorted(world.rglob("*.glb")):
            if path.stem == "collision":
                continue
            data = path.read_bytes()
            length = struct.unpack_from("<I", data, 12)[0]
            document = json.loads(data[20 : 20 + length])
            for image in document.get("images", []):
                view = document["bufferViews"][image["bufferView"]]
                start = 28 + length + view.get("byteOffset", 0)
                with Image.open(io.BytesIO(data[start : start + view["byteLength"]])) as opened:
                    pixels += np.asarray(opened).size
        return pixels

    rest = [timed(read)[1:] for _ in range(repeats + 1)]
    return {"wall_s": round(min(w for w, _ in rest), 4), "cpu_s": round(min(c for _, c in rest), 4)}


def measure_engine(world: Path, _: int) -> dict[str, Any]:
    from aerialworld_core.plan import Plan
    from aerialworld_core.world import load_rig, load_world
    from aerialworld_sim import Engine, Vehicle

    loaded, load_wall, load_cpu = timed(lambda: load_world(world))
    after_load = peak_mib()
    t = np.linspace(0.0, 30.0, 31)
    position = np.stack([2.0 * t, np.zeros_like(t), np.full_like(t, 60.0)], -1)
    plan = Plan("bench", "drone_1", "drone", "line", "all", 0, t, position, np.tile([0.0, 0.0, 0.0, 1.0], (31, 1)))
    vehicle = Vehicle(load_rig("rig_drone"), plan.trajectory())
    engine, built_wall, built_cpu = timed(lambda: Engine(loaded, {"drone_1": vehicle}))
    _, frame_wall, frame_cpu = timed(lambda: engine.render("drone_1"))
    stages = {
        "load": {"wall_s": round(load_wall, 3), "cpu_s": round(load_cpu, 3)},
        "build": {"wall_s": round(built_wall, 3), "cpu_s": round(built_cpu, 3)},
        "first_frame": {"wall_s": round(frame_wall, 3), "cpu_s": round(frame_cpu, 3)},
    }
    return {**stages, "peak_after_load_mib": after_load, "peak_mib": peak_mib()}


def in_own_process(what: str, world: Path, number: int) -> dict[str, Any]:
    """`number` is that of repeats, or of the triangles to write."""
    command = [sys.executable, __file__, "--measure", what, "--repeats", str(number), str(world)]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    if output.returncode:
        sys.exit(f"{world}: {output.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return result


def measured(world: Path, repeats: int) -> dict[str, Any]:
    result = in_own_process("load", world, repeats)
    result["floor"] = in_own_process("floor", world, repeats)
    result["ratio"] = round(result["load"]["best"]["cpu_s"] / result["floor"]["cpu_s"], 2)
    in_own_process("engine", world, 0)  # fills the cache of compiled kernels
    result["engine"] = in_own_process("engine", world, 0)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", type=Path, nargs="*")
    parser.add_argument("--triangles", type=int, default=2_000_000, help="of the generated city; 0: none")
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    parser.add_argument("--measure", choices=("load", "floor", "engine", "write"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        world = options.worlds[0]
        if options.measure == "write":
            write_large(world, options.repeats)
        measures = {"load": measure_load, "floor": measure_floor, "engine": measure_engine}
        print(json.dumps(measures[options.measure](world, options.repeats) if options.measure in measures else {}))
        return
    report: dict[str, Any] = {"machine": {**machine(), "load": os.getloadavg()[0]}, "versions": versions()}
    for world in options.worlds:
        report[world.name] = measured(world, options.repeats)
    if options.triangles:
        with tempfile.TemporaryDirectory() as folder:
            # In a process of its own: what a process needed once counts as the peak of its children.
            in_own_process("write", Path(folder), options.triangles)
            report["large"] = measured(Path(folder), options.repeats)
    tell(report, options.json)


if __name__ == "__main__":
    main()
