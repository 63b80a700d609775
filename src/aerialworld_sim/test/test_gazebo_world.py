"""The world of a run is the written world with its vehicles; what Gazebo would not run is refused with the reason."""

from pathlib import Path

import pytest
from lxml import etree

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.frames import Pose
from aerialworld_core.resources import share
from aerialworld_core.world import load_rig
from aerialworld_sim.gazebo.run_world import SYSTEMS, resource_path, run_world, step_size, world_name
from aerialworld_sim.gazebo.vehicle import GazeboVehicle

PLUGINS = "".join(f'<plugin filename="{library}" name="{name}"/>' for library, name in SYSTEMS.items())
PLACE = (
    "<spherical_coordinates><surface_model>EARTH_WGS84</surface_model><latitude_deg>35.0</latitude_deg>"
    "<longitude_deg>139.0</longitude_deg><elevation>0</elevation></spherical_coordinates>"
)


def world(folder: Path, *parts: str, step: str = "0.001", name: str = "box") -> Path:
    physics = f'<physics name="p" type="ignored"><max_step_size>{step}</max_step_size></physics>'
    path = folder / "world.sdf"
    path.write_text(f'<sdf version="1.10"><world name="{name}">{physics}{"".join(parts)}</world></sdf>')
    return path


@pytest.fixture(scope="module")
def drone() -> GazeboVehicle:
    return GazeboVehicle("drone_1", load_rig("rig_small"), pose=Pose.from_rpy(1.0, 2.0, 3.0, yaw=0.5))


def test_shipped_worlds_run_our_vehicles(drone):
    worlds = sorted(share("aerialworld_worlds").glob("*/world.sdf"))
    assert worlds
    for path in worlds:
        source, made = (
            etree.parse(path).find("world"),
            etree.fromstring(run_world(path, [drone]).encode()).find("world"),
        )
        assert made.get("name") == world_name(path) == source.get("name")
        assert [e.findtext("uri") for e in made.findall("include")] == [
            e.findtext("uri") for e in source.findall("include")
        ]
        assert all(
            (resource_path(path) / e.findtext("name") / "model.sdf").is_file() for e in source.findall("include")
        )
        for library, system in SYSTEMS.items():
            assert made.find(f"plugin[@filename='{library}']").get("name") == system
        assert made.findtext("plugin[@filename='gz-sim-sensors-system']/render_engine") == "ogre2"
        assert step_size(path) == 0.001  # as fast as ArduPilot asks for
        # What bears a class says it to Gazebo's segmentation cameras.
        for model in sorted(resource_path(path).glob("*/model.sdf")):
            visuals = list(etree.parse(model).iter("visual"))
            assert visuals and all(v.find("plugin[@filename='gz-sim-label-system']/label") is not None for v in visuals)


def test_vehicles_stand_where_they_were_put(tmp_path, drone):
    path = world(tmp_path, PLUGINS, PLACE)
    made = etree.fromstring(run_world(path, [drone, GazeboVehicle("rover_1", load_rig("rig_rover"))]).encode())
    models = made.findall("world/model")
    assert [m.get("name") for m in models] == ["drone_1", "rover_1"]
    assert [float(v) for v in models[0].findtext("pose").split()] == pytest.approx([1, 2, 3, 0, 0, 0.5])


def test_a_fast_world_is_not_bound_to_the_wall_clock(tmp_path, drone):
    path = world(tmp_path, PLUGINS, PLACE)
    slow, fast = (etree.fromstring(run_world(path, [drone], fast=f).encode()) for f in (False, True))
    assert slow.find("world/physics/real_time_factor") is None
    assert fast.findtext("world/physics/real_time_factor") == "0"


def test_a_light_of_ones_own_is_read_back_as_it_was_given(tmp_path):
    """Brighter than a colour can be, too: that is intensity."""
    import numpy as np

    from aerialworld_core.world import load_world
    from aerialworld_core.world.scene import Light

    old = "<light name='a' type='directional'><diffuse>1 0 0 1</diffuse></light><light name='b' type='point'/>"
    box = "<geometry><box><size>9 9 1</size></box></geometry>"
    ground = f"<model name='g'><static>true</static><link name='l'><visual name='v'>{box}</visual></link></model>"
    path = world(tmp_path, PLUGINS, PLACE, old, ground)
    way = np.array([0.6, 0.0, -0.8])
    light = Light(way, np.array([2.0, 1.5, 0.5]), np.array([0.3, 0.2, 0.1]), np.array([0.5, 0.6, 0.7]), True)
    made = tmp_path / "made.sdf"
    made.write_text(run_world(path, [], light=light))
    found = load_world(made).light
    for name in ("direction", "sun", "ambient", "background"):
        assert np.allclose(getattr(found, name), getattr(light, name), atol=1e-12), name
    assert found.shadows
    assert [e.get("name") for e in etree.parse(made).iter("light")] == ["b", "sun"]


def test_meshes_are_found_from_where_the_run_writes_its_world(tmp_path, drone):
    visual = "<visual name='v'><geometry><mesh><uri>{}</uri></mesh></geometry></visual>"
    model = "<model name='m'><link name='l'>" + visual.format("meshes/a.glb") + visual.format("model://b/c.glb")
    path = world(tmp_path, PLUGINS, PLACE, model + "</link></model>")
    uris = [e.text for e in etree.fromstring(run_world(path, [drone]).encode()).iter("uri")]
    assert uris[:2] == [str(tmp_path / "meshes/a.glb"), "model://b/c.glb"]


def test_no_ruby_of_a_worlds_gets_to_gazebo(tmp_path, drone):
    """`gz sim` reads a world as an ERB template: what stands between <% and %> would be run."""
    ruby = '<% system("touch /tmp/x") %>'
    escaped = ruby.replace("<", "&lt;").replace('"', "&quot;")
    hidden = (f"<!-- {ruby} -->", f"<?erb {ruby[:-2]} %?>", f"<wind>{escaped}</wind>", f'<light name="{escaped}"/>')
    hidden += (f"<audio><![CDATA[{ruby}]]></audio>",)
    made = run_world(world(tmp_path, PLUGINS, PLACE, *hidden), [drone])
    assert "<%" not in made and etree.fromstring(made.encode()).findtext("world/wind") == ruby


def test_versioned_names_of_systems_are_the_same_systems(tmp_path, drone):
    versioned = PLUGINS.replace('"gz-sim-', '"libgz-sim8-').replace('-system" name', '-system.so" name')
    assert versioned != PLUGINS and run_world(world(tmp_path, versioned, PLACE), [drone])


@pytest.mark.parametrize(
    ("parts", "options", "match"),
    [
        ((PLUGINS.replace("gz-sim-imu-system", "other"), PLACE), {}, "lacks the systems gz-sim-imu-system"),
        ((PLUGINS,), {}, "no <spherical_coordinates>"),
        ((PLUGINS, PLACE, "<model name='drone_1'/>"), {}, "has a model drone_1 already"),
        ((PLUGINS, PLACE, "<include><name>drone_1</name><uri>model://x</uri></include>"), {}, "drone_1 already"),
        ((PLUGINS, PLACE), {"name": ""}, "has no name"),
    ],
)
def test_worlds_that_gazebo_could_not_run_are_refused(tmp_path, drone, parts, options, match):
    path = world(tmp_path, *parts, **options)
    with pytest.raises(AerialWorldError, match=match) as error:
        run_world(path, [drone])
    assert str(path) in str(error.value)


@pytest.mark.parametrize("step", ["", "x", "0", "-1", "1"])
def test_a_world_without_a_usable_step_is_refused(tmp_path, step):
    with pytest.raises(AerialWorldError, match="max_step_size"):
        step_size(world(tmp_path, PLUGINS, PLACE, step=step))


def test_one_world_a_file(tmp_path):
    path = tmp_path / "two.sdf"
    path.write_text('<sdf version="1.10"><world name="a"/><world name="b"/></sdf>')
    with pytest.raises(AerialWorldError, match="holds 2 worlds"):
        world_name(path)
