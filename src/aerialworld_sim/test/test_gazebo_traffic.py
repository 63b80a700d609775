"""Traffic in Gazebo: its models, the process that knows where they are, and the system that sets their poses.

Gazebo's bindings are not here: in their place are objects that take the same calls and remember what they were given.
"""

import json
import sys
from datetime import timedelta
from importlib import util
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from lxml import etree

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.resources import share
from aerialworld_core.world import load_world
from aerialworld_sim.gazebo.actors import COMMAND, SYSTEM, actor_models, systems_folder, traffic_system
from aerialworld_sim.gazebo.run_world import run_world
from aerialworld_sim.motion import Actor, Static
from aerialworld_sim.traffic import Traffic, TrafficOptions

WORLD = share("aerialworld_worlds") / "small_city"
ASKED = "cars=6,pedestrians=3,parked=0.5,seed=2"
WORDS = [sys.executable, "-m", "aerialworld_sim.traffic.poses", str(WORLD), ASKED]


@pytest.fixture(scope="module")
def traffic():
    return Traffic(load_world(WORLD), TrafficOptions.parse(ASKED))


def system():
    """The system's module, loaded as Gazebo loads it: by name from a folder of its plugin path."""
    spec = util.spec_from_file_location(SYSTEM, systems_folder() / f"{SYSTEM}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Model:
    """Of gz.sim: remembers its commanded poses, by name."""

    commanded: ClassVar[dict] = {}

    def __init__(self, entity):
        self.name = entity

    def valid(self, ecm):
        return self.name is not None

    def set_world_pose_cmd(self, ecm, pose):
        self.commanded.setdefault(self.name, []).append(pose)


@pytest.fixture
def gz(monkeypatch, traffic):
    """Bindings whose world has the traffic's models; entities are names."""
    names = {member.name for member in traffic.members}
    world = SimpleNamespace(model_by_name=lambda ecm, name: name if name in names else None)
    monkeypatch.setitem(sys.modules, "gz.sim8", SimpleNamespace(World=lambda entity: world, Model=Model))
    mathematics = SimpleNamespace(
        Vector3d=lambda *v: v, Quaterniond=lambda w, x, y, z: (x, y, z, w), Pose3d=lambda place, turn: (*place, *turn)
    )
    monkeypatch.setitem(sys.modules, "gz.math7", mathematics)
    monkeypatch.setattr(Model, "commanded", {})
    monkeypatch.setenv(COMMAND, json.dumps(WORDS))
    return names


def info(milliseconds, paused=False):
    return SimpleNamespace(sim_time=timedelta(milliseconds=milliseconds), paused=paused)


def test_models_stand_where_the_traffic_begins_with_its_classes(tmp_path, traffic):
    world = etree.fromstring(
        run_world(WORLD, [], others=[traffic_system(), *actor_models(traffic.actors, tmp_path / "meshes")]).encode()
    ).find("world")
    start = traffic.snapshot(0)
    for i, member in enumerate(traffic.members):
        model = world.find(f"model[@name='{member.name}']")
        pose = Pose.from_rpy(*(float(v) for v in model.findtext("pose").split()))
        assert np.allclose(pose.matrix, Pose(start.position[i], start.orientation[i]).matrix, atol=1e-12)
        assert model.findtext("static") == "true" and model.find("link/collision") is None
        assert int(model.findtext("link/visual/plugin/label")) == member.kind.label
        mesh = (tmp_path / "meshes").resolve() / model.findtext("link/visual/geometry/mesh/uri").rsplit("/")[-1]
        assert str(mesh) == model.findtext("link/visual/geometry/mesh/uri")
        vertices = np.array([line.split()[1:] for line in mesh.read_text().splitlines() if line[:2] == "v "], float)
        assert np.allclose(vertices.min(0), traffic.actors[i].body.bounds[0], atol=1e-4)
    (loader,) = (p for p in world.findall("plugin") if p.get("name").endswith("PythonSystemLoader"))
    assert (loader.get("filename"), loader.findtext("module_name")) == ("gz-sim-python-system-loader-system", SYSTEM)


def test_an_actor_may_not_bear_a_models_name(tmp_path, traffic):
    taken = load_world(WORLD).path
    name = etree.parse(str(WORLD / "world.sdf")).findtext("world/include/name")
    actor = Actor(name, traffic.actors[0].body, Static(Pose.identity()), 4)
    with pytest.raises(WorldError, match=f"has a model {name} already"):
        run_world(taken, [], others=actor_models([actor], tmp_path))


def test_the_system_sets_the_poses_of_the_embedded_engines_traffic(gz, traffic):
    """Every 20 ms of simulated time, exactly, and not while Gazebo is paused."""
    made = system().get_system()
    made.configure("world", None, None, None)
    try:
        for milliseconds in range(1, 101):
            made.pre_update(info(milliseconds, paused=milliseconds % 2 == 0 and milliseconds < 20), None)
        made.pre_update(info(12_340), None)
    finally:
        made.shutdown()
    assert made._poses._process.returncode == 0
    stamps = [1, 20, 40, 60, 80, 100, 12_340]
    moving = [i for i, member in enumerate(traffic.members) if member.parked is None]
    assert set(Model.commanded) == {traffic.members[i].name for i in moving} and 0 < len(moving) < len(gz)
    for k, milliseconds in enumerate(stamps):
        shot = traffic.snapshot(milliseconds * 1_000_000)
        for i in moving:
            told = Model.commanded[traffic.members[i].name]
            assert len(told) == len(stamps)
            assert told[k] == (*shot.position[i], *shot.orientation[i])
    moved = np.array([Model.commanded[traffic.members[i].name][-1][:3] for i in moving])
    assert (np.linalg.norm(moved - traffic.snapshot(0).position[moving], axis=1) > 1.0).any()


def test_gazebo_ends_with_a_reason_when_traffic_fails(gz, monkeypatch, capfd):
    """Not even started, gone while running, or a world that is another one."""

    class Ended(Exception):
        pass

    def end(code):
        raise Ended(code)

    module = system()
    monkeypatch.setattr(module.os, "_exit", end)
    monkeypatch.setenv(COMMAND, json.dumps([*WORDS[:3], str(WORLD), "ufos=1"]))
    with pytest.raises(Ended, match=str(module.FAILED)):
        module.get_system().configure("world", None, None, None)
    told = capfd.readouterr().err
    assert "ufos" in told and "aerialworld_traffic" in told and "exit code" in told

    for names, reason in ((["car_1"], "no longer answers"), (["tram_1"], "the world has no model tram_1")):
        monkeypatch.setenv(COMMAND, json.dumps([sys.executable, "-c", f"print({json.dumps(json.dumps(names))})"]))
        made = module.get_system()
        made.configure("world", None, None, None)
        made._poses._process.wait()
        with pytest.raises(Ended, match=str(module.FAILED)):
            made.pre_update(info(20), None)
        assert reason in capfd.readouterr().err
