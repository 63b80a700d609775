"""Bad worlds: each is refused with file, element and way out, or loads and says what it left out."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.world import load_world

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
NAN, INF = float("nan"), float("inf")


def write_files(folder, sdf):
    """One broken thing each."""
    ok = {"name": "n", "vertices": [[0, 0, 0], [1, 0, 0], [0, 1, 0]], "faces": [[0, 1, 2]]}
    (folder / "ok.obj").write_text(TRIANGLE + "f 1 2 3\n")
    (folder / "nan.obj").write_text("o tower\nv 0 0 0\nv nan 0 0\nv 0 inf 0\nf 1 2 3\n")
    (folder / "flat.obj").write_text(TRIANGLE + "v 2 0 0\nf 1 2 4\nf 1 1 2\nf 1 2 3\n")
    (folder / "only_flat.obj").write_text(TRIANGLE + "v 2 0 0\nf 1 2 4\n")
    (folder / "none.obj").write_text("# nothing\n")
    (folder / "index.obj").write_text(TRIANGLE + "f 1 2 4\n")
    (folder / "huge.obj").write_text("v 0 0 0\nv 1e39 0 0\nv 0 1 0\nf 1 2 3\n")
    (folder / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    sdf.write_glb(folder / "nan.glb", [{**ok, "name": "bldg_7", "vertices": [[0, 0, NAN], [1, 0, 0], [0, INF, 0]]}])
    sdf.write_glb(folder / "nan_uv.glb", [{**ok, "uv": [[0, 0], [NAN, 0], [0, 1]]}])
    data = (folder / "nan.glb").read_bytes()
    (folder / "cut.glb").write_bytes(data[:-20])
    missing = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    sdf.write_glb(folder / "picture.glb", [{**ok, "material": missing}], [b"no picture at all"])


def albedo(name):
    return f"<material><diffuse>1 1 1</diffuse><pbr><metal><albedo_map>{name}</albedo_map></metal></pbr></material>"


REFUSED = {
    "missing mesh": (("mesh", "gone.glb"), r"model m: .*world\.sdf:1: <visual v>: uri 'gone\.glb': no such file"),
    "missing texture": (("albedo", "gone.png"), r"model m: .*<visual v>: uri 'gone\.png': no such file"),
    "broken texture": (("albedo", "cut.png"), r"model m: .*cut\.png: not a readable PNG or JPEG"),
    "broken picture in a mesh": (("mesh", "picture.glb"), r"picture\.glb: image 0: not a readable PNG or JPEG"),
    "NaN vertices in OBJ": (("mesh", "nan.obj"), r"model m: .*nan\.obj: tower: 2 of 3 vertices are not finite"),
    "NaN vertices in GLB": (("mesh", "nan.glb"), r"nan\.glb: bldg_7: 2 of 3 vertices are not finite"),
    "NaN texture coordinates": (("mesh", "nan_uv.glb"), r"nan_uv\.glb: n: a texture coordinate is not a finite"),
    "beyond float32": (("mesh", "huge.obj"), r"model m: .*<visual v>: vertices reach beyond what float32 holds"),
    "index of no vertex": (("mesh", "index.obj"), r"index\.obj: line 4: .*index 4 of 3"),
    "cut off": (("mesh", "cut.glb"), r"cut\.glb: glTF version 2, \d+ of \d+ bytes: cut off"),
    "outside its folder": (("mesh", "../outside.obj"), r"uri '\.\./outside\.obj' leaves the folder .*; refused"),
    "absolute path": (("mesh", "/etc/passwd"), "only model:// and paths relative to the SDF file are read"),
    "network": (("mesh", "https://h/a.glb"), "only model:// and paths relative to the SDF file are read"),
    "flattened": (("scale", "ok.obj"), "a scale of 0 leaves nothing of the mesh"),
    "no geometry": (("raw", '<visual name="v"/>'), r"<visual v>: has no <geometry>"),
    "size of a box": (
        ("raw", '<visual name="v"><geometry><box><size>1 0 1</size></box></geometry></visual>'),
        "positive",
    ),
    "size that is no number": (
        ("raw", '<visual name="v"><geometry><box><size>1 nan 1</size></box></geometry></visual>'),
        r"world\.sdf:1: <size>: '1 nan 1' is not finite",
    ),
}


def world_of(tmp_path, sdf, what):
    kind, value = what
    folder = tmp_path / "world"
    folder.mkdir()
    (tmp_path / "outside.obj").write_text(TRIANGLE + "f 1 2 3\n")
    write_files(folder, sdf)
    visual = {
        "mesh": lambda: sdf.visual(sdf.mesh(value)),
        "scale": lambda: sdf.visual(sdf.mesh(value, "1 0 1")),
        "albedo": lambda: sdf.visual(sdf.box(1, 1, 1), extra=albedo(value)),
        "raw": lambda: value,
    }[kind]()
    body = sdf.model("m", visual, label=15)
    (folder / "world.sdf").write_text(f'<sdf version="1.10"><world name="w">{body}</world></sdf>')
    return folder


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_file_element_and_way_out(tmp_path, sdf, case):
    what, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        load_world(world_of(tmp_path, sdf, what))


LOADED = {
    "degenerate triangles": (("mesh", "flat.obj"), 1, "m: 2 triangles without area were left out"),
    "degenerate triangles alone": (("mesh", "only_flat.obj"), 0, "m: 1 triangles without area were left out"),
    "a mesh of nothing": (("mesh", "none.obj"), 0, "none.obj: holds no triangles"),
    "no visual": (("raw", ""), 0, "the world is empty: no visual has a triangle"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", LOADED)
def test_loaded_with_a_note(tmp_path, sdf, case):
    what, faces, note = LOADED[case]
    world = load_world(world_of(tmp_path, sdf, what))
    assert len(world.scene.faces) == faces and [n for n in world.notes if n.endswith(note)]
    if not faces:
        assert "the world is empty: no visual has a triangle" in world.notes
        assert not world.bounds.any() and np.isnan(world.terrain_height(np.zeros((1, 2)))[0])
        assert np.isinf(world.cast([[0, 0, 5]], [[0, 0, -1]])[0][0])


CHILD = """
    import resource, sys
    from pathlib import Path
    from aerialworld_core.errors import WorldError
    from aerialworld_core.world import load_world
    import numba, PIL.Image
    limit = int(sys.argv[2]) + 1024 * int(open("/proc/self/statm").read().split()[0]) * 4
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        world = load_world(Path(sys.argv[1]))
    except WorldError as error:
        print("refused", error)
    else:
        assert world.bounds.tolist() == [[0.0, 0.0, 0.0], [4000.0, 2501.0, 1.0]]
        print("loaded", len(world.scene.faces))
"""


def in_child(folder, allowed):
    """What a process says that may take `allowed` bytes of address space more than it has after its imports."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(folder), str(allowed)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_ten_million_triangles_load_in_two_gib_or_are_refused(tmp_path, sdf):
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    count = 10_000_000
    triangles = np.zeros(count, record)
    x, y = (a.astype(np.float32) for a in np.divmod(np.arange(count), 2500))
    triangles["corners"][:, :, 0] = x[:, None]
    triangles["corners"][:, :, 1] = y[:, None] + np.float32([0, 1, 0])
    triangles["corners"][:, 2, 2] = 1
    triangles["corners"][-1, 1] = [4000, 2501, 0]
    with open(tmp_path / "t.stl", "wb") as handle:
        handle.write(b"\0" * 80 + count.to_bytes(4, "little"))
        triangles.tofile(handle)
    del triangles
    body = sdf.model("m", sdf.visual(sdf.mesh("t.stl")), label=15)
    (tmp_path / "world.sdf").write_text(f'<sdf version="1.10"><world name="w">{body}</world></sdf>')
    assert in_child(tmp_path, 2 << 30) == "loaded 10000000\n"
    said = in_child(tmp_path, 1 << 30)
    assert said.startswith("refused") and "world.sdf: there is not enough memory" in said and "simplify" in said
