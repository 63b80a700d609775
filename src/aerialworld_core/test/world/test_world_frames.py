"""Poses in every way that SDF gives them stand where sdformat, Gazebo's own reader, puts them (`frames/`)."""

import json
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.world import load_world
from aerialworld_core.world.sdf import Notes, read_document, where
from aerialworld_core.world.tree import Child, Model
from aerialworld_core.world.uris import Files

FOLDER = Path(__file__).parent / "frames"
REFERENCE = json.loads((FOLDER / "sdformat.json").read_text())


def placed(path):
    """4×4 of every link, and of every visual after its link's name and a stroke."""
    document = read_document(path, root=FOLDER)
    world = document.element.find("world")
    root = document.element.find("model") if world is None else world
    model = Model(document, root, Files(FOLDER), Notes())
    start, name = np.eye(4), ""
    if world is None:
        start = Child(model, document, root, root.find("pose"), document).matrix(where(document, root))
        name = root.get("name")
    found = {}
    for link in model.links(start, name=name):
        own = f"{link.model}::{link.element.get('name')}"
        found[own] = link.matrix
        for visual in link.element.findall("visual"):
            found[f"{own}/{visual.get('name')}"] = link.place(visual.find("pose"))
    return found


@pytest.mark.parametrize("file", ["world.sdf", "models/wrist/model.sdf"])
def test_links_and_visuals_stand_where_gazebo_puts_them(file):
    found, reference = placed(FOLDER / file), REFERENCE[file]
    assert found.keys() == reference.keys()
    for name, pose in reference.items():
        assert np.allclose(found[name], Pose(np.array(pose[:3]), np.array(pose[3:])).matrix, atol=1e-8), name


def test_a_model_alone_stands_on_its_placement_frame():
    # Its frame `flange` lies at its pose: 5 5 5, turned by 1 rad about each axis.
    world = load_world(FOLDER / "models" / "wrist")
    names = ["link", "end", "onj", "inner::link"]
    centres = [REFERENCE["models/wrist/model.sdf"][f"wrist::{name}/v"][:3] for name in names]
    boxes = world.scene.vertices.reshape(4, -1, 3)
    assert np.allclose(boxes.mean(axis=1), centres, atol=1e-5)


@pytest.mark.parametrize("name", ["child::none", "none::l", "child::", "::l"])
def test_scoped_names_that_are_not_there(make_world, name):
    inside = '<model name="child"><link name="l"/></model>'
    with pytest.raises(WorldError, match="no such link, frame or model"):
        make_world(f'<model name="m">{inside}<link name="k"><pose relative_to="{name}"/></link></model>')


def test_a_circle_through_a_nested_model_is_told(make_world):
    child = '<model name="child"><pose relative_to="f"/><link name="l"/></model>'
    with pytest.raises(WorldError, match="is a circle"):
        make_world(f'<model name="m">{child}<frame name="f" attached_to="child::l"/><link name="k"/></model>')
