"""Suns, skies and what a world's look asks for and does not get."""

import numpy as np
import pytest

from aerialworld_core.errors import WorldError

SUN = '<light name="{}" type="directional">{}<diffuse>{} {} {}</diffuse><direction>0 0 -1</direction></light>'


def test_a_light_on_a_link_is_a_sun_that_turns_with_it(make_world, sdf):
    # The link is rolled by +90°: what was down (−z) is then +y.
    lamp = SUN.format("sun", "<cast_shadows>1</cast_shadows>", 0.5, 0.6, 0.7)
    body = f'<link name="l"><pose>0 0 9 1.5707963267948966 0 0</pose>{lamp}{sdf.visual(sdf.box(1, 1, 1))}</link>'
    world = make_world(f'<model name="m"><static>1</static>{sdf.LABEL.format(15)}{body}</model>')
    assert np.allclose(world.light.direction, [0, 1, 0]) and np.allclose(world.light.sun, [0.5, 0.6, 0.7])
    assert world.light.shadows and world.notes == []


def test_the_brightest_sun_counts_and_the_rest_is_counted(make_world, sdf):
    lamps = "".join(f'<light name="lamp{i}" type="{"spot" if i % 2 else "point"}"/>' for i in range(7))
    off = '<light name="off" type="point"><light_on>false</light_on></light>'
    world = make_world(SUN.format("a", "", 0.1, 0.1, 0.1) + SUN.format("b", "", 0.9, 0.9, 0.9) + lamps + off)
    assert np.allclose(world.light.sun, 0.9)
    assert "there are 2 directional lights: only the brightest is shown" in world.notes
    assert "7 point or spot lights are not shown (lamp0, lamp1, lamp2, …): only directional lights are" in world.notes
    with pytest.raises(WorldError, match="intensity"):
        make_world('<light name="a" type="directional"><intensity>-1</intensity></light>')


def test_a_sky_is_pale_at_the_horizon_and_blue_above(make_world):
    plain = make_world("<scene><background>0.1 0.2 0.3</background></scene>").light
    assert plain.zenith is None and plain.background.tolist() == [0.1, 0.2, 0.3]
    world = make_world(
        "<scene><background>0.1 0.2 0.3</background><sky><time>6</time><clouds><speed>3</speed></clouds>"
        "<cubemap_uri>a.dds</cubemap_uri></sky></scene>"
    )
    low, high = world.light.background, world.light.zenith
    assert (high < low).all() and high[2] > high[1] > high[0]  # darker, and bluer
    luminance = np.array([0.2126, 0.7152, 0.0722])
    assert 2 < luminance @ low / (luminance @ high) < 6  # CIE 110: a clear sky away from the sun, horizon to zenith
    assert [n for n in world.notes if n.startswith("<sky>")] == [
        "<sky>: <time> is not honoured",
        "<sky>: <clouds> is not honoured",
        "<sky>: <cubemap_uri> is not honoured (a clear sky is shown)",
    ]


def test_fog_is_told_unless_there_is_none_of_it(make_world):
    fog = "<scene><fog><type>{}</type><density>0.1</density></fog><grid>false</grid></scene>"
    assert "<scene>: <fog> is not honoured (not shown)" in make_world(fog.format("linear")).notes
    assert not [n for n in make_world(fog.format("none")).notes if "fog" in n]


def notes_of(make_world, sdf, extra, geometry=None, name="v"):
    return make_world(
        sdf.model("m", *(sdf.visual(geometry or sdf.box(1, 1, 1), name=f"{name}{i}", extra=extra) for i in range(3)),
                  label=15)
    ).notes  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "note"),
    [
        ("<cast_shadows>false</cast_shadows>", "<visual>: <cast_shadows> is not honoured"),
        ("<cast_shadows>true</cast_shadows>", None),
        ("<transparency>0.5</transparency>", "<visual>: <transparency> is not honoured (shown as opaque)"),
        ("<transparency>0.0</transparency>", None),
        ("<meta><layer>1</layer></meta>", None),
        ("<glow>1</glow>", "<visual>: <glow> is not honoured"),
        ("<visibility_flags>4294967295</visibility_flags>", None),
        (
            "<visibility_flags>2</visibility_flags>",
            "<visibility_flags> are not compared with sensors' masks: such visuals are seen by every sensor",
        ),
        ("<material><ambient>1 0 0</ambient><diffuse>1 0 0</diffuse></material>", None),
        ("<material><emissive>0 0 0 1</emissive><specular>0.0 0 0</specular></material>", None),
        ("<material><emissive>0 0.1 0 1</emissive></material>", "<material>: <emissive> is not honoured"),
        ("<material><specular>1 1 1 1</specular></material>", "<material>: <specular> is not honoured"),
        ("<material><lighting>false</lighting></material>", "<material>: <lighting> is not honoured"),
        ("<material><render_order>2</render_order></material>", "<material>: <render_order> is not honoured"),
        (
            "<material><script><uri>a</uri><name>Gazebo/Red</name></script></material>",
            "<material>: <script> is not honoured (material scripts are not read)",
        ),
        (
            '<material><shader type="normal_map_object_space"><normal_map>n.png</normal_map></shader></material>',
            "<material>: <shader> is not honoured",
        ),
        (
            "<material><pbr><metal><roughness>0.2</roughness></metal></pbr></material>",
            "<metal>: <roughness> is not honoured",
        ),
        (
            "<material><pbr><metal><normal_map>n.png</normal_map></metal></pbr></material>",
            "<metal>: <normal_map> is not honoured",
        ),
        (
            "<material><pbr><specular><glossiness_map>n.png</glossiness_map></specular></pbr></material>",
            "<specular>: <glossiness_map> is not honoured",
        ),
    ],
)
def test_elements_that_are_not_honoured_are_told_once_by_name(make_world, sdf, extra, note):
    assert notes_of(make_world, sdf, extra) == ([] if note is None else [note])


def test_unread_parts_of_shapes_and_links_are_told(make_world, sdf, tmp_path):
    (tmp_path / "t.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    shape = '<mesh optimization="convex_hull"><uri>t.obj</uri><convex_decomposition/></mesh>'
    assert notes_of(make_world, sdf, "", shape) == ["<mesh>: optimization is not honoured (the mesh is shown as it is)"]
    shape = "<polyline><point>0 0</point><height>1</height></polyline>"
    notes = notes_of(make_world, sdf, "", shape)
    assert "model geometry <polyline> is not read; its visuals are missing" in notes
    emitter = '<link name="l"><particle_emitter name="e" type="box"/><projector name="p"/></link>'
    notes = make_world(f'<model name="m"><static>1</static>{emitter}</model>').notes
    assert "<particle_emitter> is not shown" in notes and "<projector> is not shown" in notes


def test_flags_of_zero_hide_a_visual_and_other_values_are_refused(make_world, sdf):
    flags = "<visibility_flags>{}</visibility_flags>"
    world = make_world(
        sdf.model("m", sdf.visual(sdf.box(1, 1, 1), extra=flags.format(0)), sdf.visual(sdf.box(2, 2, 2), name="w"),
                  label=15)
    )  # fmt: skip
    assert world.bounds.tolist() == [[-1, -1, -1], [1, 1, 1]]
    assert world.notes == ["1 visuals have <visibility_flags> 0: hidden from all sensors, as in Gazebo"]
    for value in ("-1", "4294967296", "all"):
        with pytest.raises(WorldError, match="visibility_flags"):
            make_world(sdf.model("m", sdf.visual(sdf.box(1, 1, 1), extra=flags.format(value))))


def test_a_material_without_diffuse_is_black_as_in_gazebo_and_with_a_script_grey(make_world, sdf):
    script = "<material><script><name>Gazebo/Red</name></script></material>"
    world = make_world(
        sdf.model(
            "m",
            sdf.visual(sdf.box(1, 1, 1), extra="<material><ambient>1 1 1</ambient></material>"),
            sdf.visual(sdf.box(1, 1, 1), name="w", extra=script),
        )
    )
    black, grey = (world.scene.materials[world.scene.face_material[i]] for i in (0, 12))
    assert not black.colour.any() and np.allclose(grey.colour, 0.7)
