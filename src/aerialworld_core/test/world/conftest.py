"""Small worlds written as SDF, and GLB files written byte by byte."""

import json
import struct

import numpy as np
import pytest

from aerialworld_core.world import load_world

LABEL = '<plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>{}</label></plugin>'


def visual(geometry, pose="0 0 0 0 0 0", name="v", extra=""):
    return f'<visual name="{name}"><pose>{pose}</pose><geometry>{geometry}</geometry>{extra}</visual>'


def model(name, *visuals, label=None, pose="0 0 0 0 0 0", link_pose="0 0 0 0 0 0"):
    plugin = "" if label is None else LABEL.format(label)
    return (
        f'<model name="{name}"><static>true</static><pose>{pose}</pose>{plugin}'
        f'<link name="link"><pose>{link_pose}</pose>{"".join(visuals)}</link></model>'
    )


def box(x, y, z):
    return f"<box><size>{x} {y} {z}</size></box>"


def mesh(uri, scale=None):
    return f"<mesh><uri>{uri}</uri>{f'<scale>{scale}</scale>' if scale else ''}</mesh>"


def write_glb(path, parts, images=()):
    """parts: dicts of name, vertices (V, 3), faces (F, 3), uv (V, 2) or None, material dict or None, node dict."""
    blob = bytearray()
    views, accessors, meshes, nodes, materials = [], [], [], [], []

    def view(data):
        while len(blob) % 4:
            blob.append(0)
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)})
        blob.extend(data)
        return len(views) - 1

    def accessor(array, kind, component):
        accessors.append(
            {"bufferView": view(array.tobytes()), "componentType": component, "count": len(array), "type": kind}
        )
        return len(accessors) - 1

    for part in parts:
        attributes = {"POSITION": accessor(np.asarray(part["vertices"], "<f4"), "VEC3", 5126)}
        if part.get("uv") is not None:
            attributes["TEXCOORD_0"] = accessor(np.asarray(part["uv"], "<f4"), "VEC2", 5126)
        indices = accessor(np.asarray(part["faces"], "<u2").ravel(), "SCALAR", 5123)
        primitive = {"attributes": attributes, "indices": indices}
        if part.get("material"):
            materials.append(part["material"])
            primitive["material"] = len(materials) - 1
        meshes.append({"primitives": [primitive]})
        nodes.append({"name": part["name"], "mesh": len(meshes) - 1, **part.get("node", {})})
    data = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": meshes,
        "accessors": accessors,
        "materials": materials,
        "images": [{"bufferView": view(image), "mimeType": "image/png"} for image in images],
        "textures": [{"source": i} for i in range(len(images))],
    }
    data.update(bufferViews=views, buffers=[{"byteLength": len(blob)}])
    text = json.dumps(data).encode()
    text += b" " * (-len(text) % 4)
    blob.extend(b"\0" * (-len(blob) % 4))
    total = 12 + 8 + len(text) + 8 + len(blob)
    path.write_bytes(
        struct.pack("<4sII", b"glTF", 2, total)
        + struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(blob), 0x004E4942)
        + blob
    )


@pytest.fixture
def sdf():
    """The snippet writers, as one namespace."""
    from types import SimpleNamespace

    return SimpleNamespace(visual=visual, model=model, box=box, mesh=mesh, LABEL=LABEL, write_glb=write_glb)


@pytest.fixture
def write_world(tmp_path):
    """write_world(body) → the folder with world.sdf."""

    def write(body, version="1.10"):
        text = f'<?xml version="1.0"?><sdf version="{version}"><world name="test">{body}</world></sdf>'
        (tmp_path / "world.sdf").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def make_world(write_world):
    """make_world(body) → the World."""
    return lambda body: load_world(write_world(body))
