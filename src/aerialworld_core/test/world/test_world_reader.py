"""SDF worlds: where things stand, what they are, how they are lit, and what is refused."""

import os

import numpy as np
import pytest

from aerialworld_core.errors import InputError, UnsafeInputError, WorldError
from aerialworld_core.world import load_world


def centre(world):
    return world.bounds.mean(axis=0)


def test_poses_compose_by_hand(make_world, sdf):
    # Model at (10, 0, 0) turned left; link 2 m ahead of it; visual 1 m to the link's left, turned left again.
    world = make_world(
        sdf.model(
            "m",
            sdf.visual(sdf.box(4, 2, 1), pose="0 1 0.5 0 0 1.5707963267948966"),
            pose="10 0 0 0 0 1.5707963267948966",
            link_pose="2 0 0 0 0 0",
        )
    )
    # Ahead of the model is north, left of it is west: (10 − 1, 0 + 2); two quarter turns leave the box along x.
    assert np.allclose(world.bounds, [[9 - 2, 2 - 1, 0], [9 + 2, 2 + 1, 1]], atol=1e-5)


def test_roll_then_pitch_then_yaw(make_world, sdf):
    # R = Rz Ry Rx. The box's long axis x: pitch +90° turns it down, yaw leaves a vertical axis alone.
    world = make_world(sdf.model("m", sdf.visual(sdf.box(10, 2, 1), pose="0 0 0 0 1.5707963267948966 0.3")))
    assert np.allclose(world.bounds[1, 2], 5)
    # Roll +90° turns y up; the yaw of 90° then turns x north.
    world = make_world(
        sdf.model("m", sdf.visual(sdf.box(10, 4, 1), pose="0 0 0 1.5707963267948966 0 1.5707963267948966"))
    )
    assert np.allclose(world.bounds[1], [0.5, 5, 2], atol=1e-6)


@pytest.mark.parametrize(
    "pose",
    [
        '<pose degrees="true">1 2 3 0 0 90</pose>',
        '<pose rotation_format="quat_xyzw">1 2 3 0 0 0.7071067811865476 0.7071067811865476</pose>',
        '<pose rotation_format="euler_rpy">1 2 3 0 0 1.5707963267948966</pose>',
    ],
)
def test_ways_to_write_a_rotation(make_world, pose):
    box = "<geometry><box><size>4 2 2</size></box></geometry>"
    world = make_world(f'<model name="m"><link name="l"><visual name="v">{pose}{box}</visual></link></model>')
    assert np.allclose(world.bounds, [[0, 0, 2], [2, 4, 4]], atol=1e-6)


def test_relative_to_frames_links_and_placement(make_world):
    box = "<geometry><box><size>2 2 2</size></box></geometry>"
    world = make_world(
        f"""
        <frame name="corner"><pose>100 0 0 0 0 1.5707963267948966</pose></frame>
        <model name="m"><static>true</static><pose relative_to="corner">5 0 0 0 0 0</pose>
          <frame name="f" attached_to="a"><pose>0 0 10 0 0 0</pose></frame>
          <link name="a"><pose>1 0 0 0 0 0</pose></link>
          <link name="b"><pose relative_to="f">0 0 1 0 0 0</pose><visual name="v">{box}</visual></link>
        </model>"""
    )
    assert np.allclose(centre(world), [100, 6, 11], atol=1e-5)  # ahead of the corner frame is north
    world = make_world(
        f"""<model name="m" placement_frame="top"><static>true</static><pose>7 8 9 0 0 0</pose>
        <frame name="top"><pose>0 0 3 0 0 0</pose></frame>
        <link name="a"><visual name="v">{box}</visual></link></model>"""
    )
    assert np.allclose(centre(world), [7, 8, 6])
    world = make_world(
        f"""<model name="m"><static>true</static><link name="a"><pose>0 0 4 0 0 0</pose><visual name="v">
        <pose relative_to="__model__">1 0 0 0 0 0</pose>{box}</visual></link></model>"""
    )
    assert np.allclose(centre(world), [1, 0, 0])


def test_unknown_and_circular_frames(make_world):
    with pytest.raises(WorldError, match=r"world\.sdf:1: <link a>: relative_to 'nowhere'"):
        make_world('<model name="m"><link name="a"><pose relative_to="nowhere">0 0 0 0 0 0</pose></link></model>')
    with pytest.raises(WorldError, match="circle"):
        make_world(
            '<model name="m"><link name="a"><pose relative_to="b"/></link>'
            '<link name="b"><pose relative_to="a"/></link></model>'
        )


def write_model(folder, body, name="thing"):
    folder.mkdir(parents=True)
    (folder / "model.sdf").write_text(f'<sdf version="1.9"><model name="{name}">{body}</model></sdf>')


def test_includes_names_poses_and_nesting(write_world, sdf, tmp_path):
    link = f'<link name="l">{sdf.visual(sdf.box(2, 2, 2))}</link>'
    write_model(tmp_path / "models" / "thing", f"<static>true</static><pose>0 0 50 0 0 0</pose>{link}")
    write_model(
        tmp_path / "pair",
        "<static>true</static><include><uri>model://thing</uri><name>left</name><pose>0 3 0 0 0 0</pose></include>"
        '<include merge="true"><uri>../models/thing</uri><name>right</name><pose>0 -3 0 0 0 0</pose></include>',
        name="pair",
    )
    world = load_world(
        write_world(
            "<include><uri>models/thing</uri></include>"  # keeps the model's own pose
            "<include><uri>model://thing/model.sdf</uri><name>other</name><pose>20 0 0 0 0 0</pose></include>"
            "<include><uri>pair</uri><pose>0 0 0 0 0 1.5707963267948966</pose></include>"
        )
    )
    assert world.scene.instances == ["thing", "other", "pair::left", "pair"]
    centres = [
        world.scene.vertices[world.scene.faces[world.scene.face_instance == i + 1]].reshape(-1, 3).mean(axis=0)
        for i in range(4)
    ]
    assert np.allclose(centres, [[0, 0, 50], [20, 0, 0], [-3, 0, 0], [3, 0, 0]], atol=1e-5)
    assert world.notes == ["4 visuals have no Label: their class is 0 (others)"]


def test_an_include_that_includes_itself(write_world, tmp_path):
    write_model(tmp_path / "a", "<include><uri>../b</uri></include>", "a")
    write_model(tmp_path / "b", "<include><uri>../a</uri></include>", "b")
    with pytest.raises(WorldError, match="includes itself"):
        load_world(write_world("<include><uri>a</uri></include>"))


def test_the_nearest_label_wins(make_world, sdf):
    inner = sdf.model("inner", sdf.visual(sdf.box(1, 1, 1)), label=14)
    world = make_world(
        f"""<model name="m"><static>true</static>{sdf.LABEL.format(15)}
        <link name="l">{sdf.visual(sdf.box(1, 1, 1), name="a", extra=sdf.LABEL.format(11))}
        {sdf.visual(sdf.box(1, 1, 1), name="b")}</link>{inner}</model>"""
    )
    assert [int(c) for c in world.scene.face_class[::12]] == [11, 15, 14] and world.notes == []


def test_labels_that_are_no_class(make_world, sdf):
    world = make_world(sdf.model("m", sdf.visual(sdf.box(1, 1, 1)), label=40))
    assert world.notes == ["label 40 of m is no class of Occ3D-nuScenes (0 to 17)"]
    for label in (256, -1, 1.5, "car"):
        with pytest.raises(WorldError, match=r"[Ll]abel"):
            make_world(sdf.model("m", sdf.visual(sdf.box(1, 1, 1)), label=label))


def test_light_scene_and_georeference(make_world):
    world = make_world(
        """<scene><ambient>0.3 0.2 0.1 1</ambient><background>0.6 0.7 0.9</background><shadows>1</shadows></scene>
        <light type="directional" name="weak"><diffuse>0.1 0.1 0.1</diffuse></light>
        <light type="directional" name="sun"><pose>0 0 9 0 0 1.5707963267948966</pose><intensity>2</intensity>
          <diffuse>0.4 0.5 0.6 1</diffuse><direction>3 0 -4</direction><cast_shadows>true</cast_shadows></light>
        <light type="point" name="lamp"/>
        <spherical_coordinates><surface_model>EARTH_WGS84</surface_model><latitude_deg>35.66</latitude_deg>
          <longitude_deg>139.74</longitude_deg><elevation>12.5</elevation></spherical_coordinates>"""
    )
    light = world.light
    assert np.allclose(light.direction, [0, 0.6, -0.8]) and np.allclose(light.sun, [0.8, 1.0, 1.2])
    assert light.ambient.tolist() == [0.3, 0.2, 0.1] and light.background.tolist() == [0.6, 0.7, 0.9] and light.shadows
    assert world.georeference.to_dict() == {"latitude": 35.66, "longitude": 139.74, "height": 12.5}
    assert [n for n in world.notes if "lamp" in n] and [n for n in world.notes if "brightest" in n]
    assert [n for n in make_world("<gravity>0 0 -1.62</gravity>").notes if "9.8" in n]
    assert make_world("<gravity>0 0 -9.8</gravity>").notes == ["the world is empty: no visual has a triangle"]
    dark = make_world("")
    assert not dark.light.sun.any() and not dark.light.shadows and dark.georeference is None
    with pytest.raises(WorldError, match="heading_deg 0"):
        make_world(
            "<spherical_coordinates><latitude_deg>1</latitude_deg><longitude_deg>2</longitude_deg>"
            "<heading_deg>90</heading_deg></spherical_coordinates>"
        )


def test_materials_and_laser_retro(make_world, sdf):
    red = "<material><diffuse>1 0 0 1</diffuse></material>"
    world = make_world(
        sdf.model(
            "m",
            sdf.visual(sdf.box(1, 1, 1), extra=f"<laser_retro>500</laser_retro>{red}"),
            sdf.visual(sdf.box(1, 1, 1), name="w"),
        )
    )
    first, second = (world.scene.materials[world.scene.face_material[i]] for i in (0, 12))
    assert first.colour.tolist() == [1, 0, 0] and first.laser_retro == 500
    assert np.allclose(second.colour, 0.7) and second.laser_retro == 0


def test_what_is_not_honoured_is_noted_once(make_world, sdf):
    world = make_world(
        '<actor name="a"/><actor name="b"/>'
        + "".join(
            f'<model name="m{i}"><link name="l"><visual name="v"><geometry><polyline><height>1</height></polyline>'
            "</geometry></visual></link></model>"
            for i in range(2)
        )
    )
    assert len(world.scene.faces) == 0
    assert sorted(world.notes) == sorted(
        [
            "model geometry <polyline> is not read; its visuals are missing",
            "the world is empty: no visual has a triangle",
            "<actor> elements are not read",
            "model m0: is not static; it stays where it starts",
            "model m1: is not static; it stays where it starts",
        ]
    )


def test_the_hash_covers_every_file_by_name_and_content(write_world, sdf, tmp_path):
    (tmp_path / "t.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3")
    (tmp_path / "unused.obj").write_text("")
    a, b = sdf.model("a", sdf.visual(sdf.mesh("t.obj"))), sdf.model("b", sdf.visual(sdf.box(1, 1, 1)))
    first = load_world(write_world(a + b)).sha256
    assert load_world(tmp_path / "world.sdf").sha256 == first and len(first) == 64
    (tmp_path / "unused.obj").write_text("x")
    assert load_world(tmp_path).sha256 == first
    with open(tmp_path / "t.obj", "a") as handle:
        handle.write("\n# a comment")
    second = load_world(tmp_path).sha256
    assert second != first
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in ("world.sdf", "t.obj"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    assert load_world(copy).sha256 == second


def refused(write_world, body, kind=WorldError, match=""):
    with pytest.raises(kind, match=match):
        load_world(write_world(body))


def test_uris_stay_in_the_world(write_world, sdf, tmp_path):
    obj = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3"
    world = tmp_path / "w"
    write_model(world / "models" / "m", f'<link name="l">{sdf.visual(sdf.mesh("meshes/t.obj"))}</link>', "m")
    (tmp_path / "secret.obj").write_text(obj)
    (world / "models" / "m" / "meshes").mkdir()
    text = '<sdf version="1.10"><world name="w">{}</world></sdf>'
    (world / "world.sdf").write_text(text.format("<include><uri>models/m</uri></include>"))
    (world / "models" / "m" / "meshes" / "t.obj").write_text(obj)
    assert len(load_world(world).scene.faces) == 1
    os.remove(world / "models" / "m" / "meshes" / "t.obj")
    os.symlink(tmp_path / "secret.obj", world / "models" / "m" / "meshes" / "t.obj")
    with pytest.raises(WorldError, match="leaves the folder"):
        load_world(world)
    for uri in ("../secret.obj", "models/../../secret.obj", "model://m/../../../secret.obj", "model://../secret.obj"):
        (world / "world.sdf").write_text(text.format(sdf.model("m", sdf.visual(sdf.mesh(uri)))))
        with pytest.raises(WorldError, match=r"leaves the folder|only model://|only .* are read"):
            load_world(world)
    for uri in ("/etc/passwd", "file:///etc/passwd", "https://example.com/a.obj", "~/a.obj", "a\\b.obj", ""):
        (world / "world.sdf").write_text(text.format(sdf.model("m", sdf.visual(sdf.mesh(uri)))))
        with pytest.raises(WorldError, match=r"only model://|characters"):
            load_world(world)


def test_a_missing_mesh_names_model_uri_and_place(write_world, sdf, tmp_path):
    refused(write_world, sdf.model("tower", sdf.visual(sdf.mesh("no/t.obj"))), match=r"tower.*'no/t\.obj'.*no/t\.obj")
    refused(write_world, sdf.model("m", sdf.visual(sdf.mesh("model://nix/t.obj"))), match=r"model://nix.*models/nix")
    refused(write_world, "<include><uri>model://nobody</uri></include>", match="model://nobody")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("<model name='m'><link name='l'><visual name='v'/></link></model>", "has no <geometry>"),
        ("<model name='m'><link name='l'><pose>1 2</pose></link></model>", "2 numbers, need 6"),
        ("<model name='m'><link name='l'><pose>1 2 3 0 0 x</pose></link></model>", "is not 6 numbers"),
        ("<model name='m'><link name='l'><pose>1 2 3 0 0 nan</pose></link></model>", "not finite"),
        ("<model name='m'><link name='l'/><link name='l'/></model>", "used twice"),
        ("<model name='m'><link/></model>", "has no name"),
        ("<model name='m'/><model name='m'/>", "used twice"),
    ],
)
def test_broken_elements_name_file_and_line(write_world, body, match):
    refused(write_world, body, match=rf"world\.sdf:1: .*{match}")


def test_shapes_without_size(write_world, sdf):
    refused(write_world, sdf.model("m", sdf.visual("<box><size>1 0 1</size></box>")), match="sizes must be positive")
    refused(write_world, sdf.model("m", sdf.visual("<sphere/>")), match="has no <radius>")


def test_files_that_are_no_world(tmp_path):
    with pytest.raises(InputError, match="no such SDF file"):
        load_world(tmp_path)
    for text, match in (
        ("<robot/>", "root element is <robot>"),
        ('<sdf version="1.4"><world name="w"/></sdf>', "version '1.4'"),
        ('<sdf version="1.10"/>', "need one <world>"),
        ('<sdf version="1.10"><world name="w"/><world name="x"/></sdf>', "need one <world>"),
        ('<sdf version="1.10"><world name="w">', "well-formed"),
    ):
        (tmp_path / "world.sdf").write_text(text)
        with pytest.raises(InputError, match=match):
            load_world(tmp_path)
    (tmp_path / "world.sdf").write_text('<!DOCTYPE sdf [<!ENTITY x SYSTEM "file:///etc/passwd">]><sdf version="1.10"/>')
    with pytest.raises(UnsafeInputError, match="DOCTYPE"):
        load_world(tmp_path)


def test_comments_are_no_content(make_world):
    world = make_world(
        """<!-- a --><model name="m"><!-- b --><static>true</static><link name="l"><visual name="v">
        <geometry><!-- c --><box><size>1 <!-- d --> 2 3</size></box></geometry><?pi x?></visual></link></model>"""
    )
    assert np.allclose(world.bounds, [[-0.5, -1, -1.5], [0.5, 1, 1.5]])
