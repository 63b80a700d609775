"""COLLADA meshes: who may read them, where their triangles lie, how they look, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from aerialworld_core.errors import InputError, UnsafeInputError, WorldError
from aerialworld_core.world import load_world
from aerialworld_core.world.meshes import load_mesh
from aerialworld_core.world.sdf import Notes

HEAD = '<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'


def source(name, values, width):
    count = len(values) // width
    text = " ".join(map(str, values))
    return (
        f'<source id="{name}"><float_array id="{name}-a" count="{len(values)}">{text}</float_array><technique_common>'
        f'<accessor source="#{name}-a" count="{count}" stride="{width}"/></technique_common></source>'
    )


def collada(polygons, nodes, *, extra="", unit="1", up="Z_UP", positions=None):
    """A file with one geometry `g`: a square of 2 × 3 in x and z that looks along −y, and a fifth vertex above it."""
    square = positions or [0, 0, 0, 2, 0, 0, 2, 0, 3, 0, 0, 3, 1, 0, 5]
    sources = source("pos", square, 3) + source("nor", [0, -2, 0], 3) + source("tex", [0, 0, 1, 0, 1, 1, 0, 1], 2)
    vertices = '<vertices id="ver"><input semantic="POSITION" source="#pos"/></vertices>'
    return (
        f'{HEAD}<asset><unit name="u" meter="{unit}"/><up_axis>{up}</up_axis></asset>{extra}'
        f'<library_geometries><geometry id="g"><mesh>{sources}{vertices}{polygons}</mesh></geometry>'
        f'</library_geometries><library_visual_scenes><visual_scene id="s">{nodes}</visual_scene>'
        '</library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>'
    )


INPUTS = (
    '<input semantic="VERTEX" source="#ver" offset="0"/><input semantic="NORMAL" source="#nor" offset="1"/>'
    '<input semantic="TEXCOORD" source="#tex" offset="2" set="0"/>'
)
QUAD = f'<polylist count="1" material="m">{INPUTS}<vcount>4</vcount><p>0 0 0 1 0 1 2 0 2 3 0 3</p></polylist>'
NODE = '<node name="wall"><instance_geometry url="#g"/></node>'


@pytest.fixture
def load(write_world, sdf, tmp_path):
    def loaded(text, **options):
        (tmp_path / "a.dae").write_text(text)
        folder = write_world(sdf.model("m", sdf.visual(sdf.mesh("a.dae")), label=15))
        return load_world(folder, trust_collada=True, **options)

    return loaded


def test_only_trusted_files_are_read(write_world, sdf, tmp_path, monkeypatch):
    (tmp_path / "a.dae").write_text(collada(QUAD, NODE))
    folder = write_world(sdf.model("m", sdf.visual(sdf.mesh("a.dae")), label=15))
    with pytest.raises(UnsafeInputError, match=r"model m.*a\.dae.*convert it to \.glb.*--trust-collada"):
        load_world(folder)
    assert len(load_world(folder, trust_collada=True).scene.faces) == 2
    # A model that is shipped needs no trust, also not in a world of strangers.
    shipped = tmp_path / "share" / "crate"
    shipped.mkdir(parents=True)
    (shipped / "a.dae").write_text(collada(QUAD, NODE))
    (shipped / "model.sdf").write_text(
        f'<sdf version="1.10"><model name="crate"><static>1</static><link name="l">{sdf.visual(sdf.mesh("a.dae"))}'
        "</link></model></sdf>"
    )
    monkeypatch.setenv("AERIALWORLD_SHARE_AERIALWORLD_DESCRIPTION", str(tmp_path / "share"))
    world = load_world(write_world("<include><uri>model://crate</uri></include>"))
    assert len(world.scene.faces) == 2


@pytest.mark.parametrize(
    "polygons",
    [
        QUAD,
        f'<triangles count="2">{INPUTS}<p>0 0 0 1 0 1 2 0 2 0 0 0 2 0 2 3 0 3</p></triangles>',
        f'<polygons count="1">{INPUTS}<p>0 0 0 1 0 1 2 0 2 3 0 3</p></polygons>',
    ],
)
def test_the_ways_to_write_a_square(load, polygons):
    world = load(collada(polygons, NODE))
    scene = world.scene
    assert scene.triangles.tolist() == [[[0, 0, 0], [2, 0, 0], [2, 0, 3]], [[0, 0, 0], [2, 0, 3], [0, 0, 3]]]
    assert np.allclose(scene.normals, [0, -1, 0])
    assert scene.uv.tolist() == [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]]  # the origin is bottom-left
    assert world.cast([[1, -5, 1]], [[0, 1, 0]])[0][0] == 5.0
    assert all("material 'm' is not in the file" in note for note in world.notes)


def test_polygons_of_several_sizes_become_fans(load):
    polygons = (
        '<polylist count="3"><input semantic="VERTEX" source="#ver" offset="0"/><vcount>3 5 2</vcount>'
        "<p>0 1 2 0 1 2 4 3 0 1</p></polylist>"
    )
    scene = load(collada(polygons, NODE)).scene
    area = 0.5 * np.linalg.norm(
        np.cross(scene.triangles[:, 1] - scene.triangles[:, 0], scene.triangles[:, 2] - scene.triangles[:, 0]), axis=1
    )
    assert len(area) == 4 and area[0] == 3.0 and area[1:].sum() == pytest.approx(8.0)  # a square with a gable


def test_units_and_transforms_as_gazebo_applies_them(load):
    inner = (
        '<node name="outer"><translate>10 0 0</translate><rotate>0 0 1 90</rotate><scale>2 1 1</scale>'
        '<node name="inner"><matrix>1 0 0 5 0 1 0 0 0 0 1 7 0 0 0 1</matrix><instance_geometry url="#g"/></node></node>'
    )
    scene = load(collada(QUAD, inner, unit="0.01")).scene
    # (2, 0, 3) → +(5, 0, 7) → ×(2, 1, 1): (14, 0, 10) → quarter turn: (0, 14, 10) → +(10, 0, 0), in centimetres.
    assert np.allclose(scene.triangles[0, 2], [0.10, 0.14, 0.10], atol=1e-7)
    assert np.allclose(scene.normals, [1, 0, 0], atol=1e-6)  # −y turned by +90° is +x
    world = load(collada(QUAD, NODE, up="Y_UP"))
    assert np.allclose(world.bounds[1], [2, 0, 3]) and "Y_UP is not applied, as in Gazebo" in world.notes[0]


def test_nodes_are_instances_and_submeshes(load, write_world, sdf, tmp_path):
    nodes = (
        '<node name="left"><instance_geometry url="#g"/></node>'
        '<node name="right"><translate>0 0 10</translate><node><instance_geometry url="#g"/></node></node>'
        '<node name="again"><translate>0 0 20</translate><instance_node url="#shared"/></node>'
    )
    shared = '<library_nodes><node id="shared"><instance_geometry url="#g"/></node></library_nodes>'
    world = load(collada(QUAD, nodes, extra=shared))
    assert world.scene.instances == ["left", "right", "again"]
    chosen = "<mesh><uri>a.dae</uri><submesh><name>right</name><center>true</center></submesh></mesh>"
    world = load_world(write_world(sdf.model("m", sdf.visual(chosen), label=15)), trust_collada=True)
    assert np.allclose(world.bounds, [[-1, 0, -1.5], [1, 0, 1.5]]) and world.scene.instances == ["m"]


MATERIALS = (
    '<library_materials><material id="m-mat" name="brick"><instance_effect url="#e"/></material></library_materials>'
    '<library_images><image id="i"><init_from>{}</init_from></image></library_images>'
    '<library_effects><effect id="e"><profile_COMMON>'
    '<newparam sid="sur"><surface type="2D"><init_from>i</init_from></surface></newparam>'
    '<newparam sid="sam"><sampler2D><source>sur</source></sampler2D></newparam>'
    '<technique sid="t"><{}><emission><color>0 0 0 1</color></emission><diffuse>{}</diffuse></{}></technique>'
    "</profile_COMMON></effect></library_effects>"
)
BOUND = (
    '<node name="w"><instance_geometry url="#g"><bind_material><technique_common>'
    '<instance_material symbol="m" target="#m-mat"/></technique_common></bind_material></instance_geometry></node>'
)


@pytest.mark.parametrize("shading", ["lambert", "phong", "blinn"])
def test_diffuse_colours_and_textures(load, tmp_path, shading):
    colour = MATERIALS.format("none.png", shading, "<color>0.1 0.2 0.3 1</color>", shading)
    material = load(collada(QUAD, BOUND, extra=colour)).scene.materials[0]
    assert material.name == "brick" and np.allclose(material.colour, [0.1, 0.2, 0.3]) and material.texture is None
    texture = MATERIALS.format("./brick.png", shading, '<texture texture="sam" texcoord="t"/>', shading)
    out = io.BytesIO()
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(out, "PNG")
    (tmp_path / "brick.png").write_bytes(out.getvalue())
    first = load(collada(QUAD, BOUND, extra=texture))
    assert first.scene.materials[0].texture.tolist() == [[[1, 2, 3]]]
    assert first.scene.materials[0].colour.tolist() == [1, 1, 1]
    (tmp_path / "brick.png").unlink()
    with pytest.raises(WorldError, match=r"a\.dae: its image '\./brick\.png' is neither beside it nor in"):
        load(collada(QUAD, BOUND, extra=texture))
    # Where Gazebo's models keep theirs; another file gives another hash.
    folder = tmp_path / "meshes"
    folder.mkdir()
    (tmp_path / "materials" / "textures").mkdir(parents=True)
    (tmp_path / "materials" / "textures" / "brick.png").write_bytes(out.getvalue())
    (folder / "b.dae").write_text(collada(QUAD, BOUND, extra=texture))
    text = (tmp_path / "world.sdf").read_text().replace("a.dae", "meshes/b.dae")
    (tmp_path / "world.sdf").write_text(text)
    world = load_world(tmp_path, trust_collada=True)
    assert world.scene.materials[0].texture.tolist() == [[[1, 2, 3]]]
    before = world.sha256
    Image.fromarray(np.array([[[9, 2, 3]]], np.uint8)).save(tmp_path / "materials" / "textures" / "brick.png")
    assert load_world(tmp_path, trust_collada=True).sha256 != before


@pytest.mark.parametrize("name", ["/etc/passwd", "file:///etc/passwd", "../secret.png", "~/x.png", "http://h/x.png"])
def test_images_stay_in_the_folder(tmp_path, sdf, name):
    world = tmp_path / "w"
    world.mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "secret.png")
    extra = MATERIALS.format(name, "phong", '<texture texture="i"/>', "phong")
    (world / "a.dae").write_text(collada(QUAD, BOUND, extra=extra))
    body = sdf.model("m", sdf.visual(sdf.mesh("a.dae")))
    (world / "world.sdf").write_text(f'<sdf version="1.10"><world name="w">{body}</world></sdf>')
    with pytest.raises(WorldError, match="neither beside it nor in"):
        load_world(world, trust_collada=True)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><COLLADA/>', "DOCTYPE"),
        ("<COLLADA>", "not a well-formed COLLADA file"),
        ("<collada/>", "root element"),
        (collada(QUAD, NODE, unit="nan"), "meter"),
        (collada(QUAD, NODE, unit="-1"), "<unit>"),
        (collada(QUAD, '<node><instance_geometry url="#nowhere"/></node>'), "no <geometry> '#nowhere'"),
        (collada(QUAD, '<node><instance_geometry url="other.dae#g"/></node>'), "within the file"),
        (collada(QUAD, '<node id="a"><instance_node url="#a"/></node>'), "nested more than"),
        (collada(QUAD.replace("3 0 3", "9 0 3"), NODE), "POSITION 9 of 5"),
        (collada(QUAD.replace("3 0 3", "-1 0 3"), NODE), "POSITION"),
        (collada(QUAD.replace("3 0 3", "3 0 x"), NODE), "geometry g"),
        (collada(QUAD.replace("3 0 3", "3 0"), NODE), "whole corners of 3"),
        (collada(QUAD.replace("<vcount>4", "<vcount>5"), NODE), "polygons"),
        (collada(QUAD.replace('offset="2"', 'offset="-2"'), NODE), "whole number"),
        (collada(QUAD, NODE).replace('count="5" stride="3"', 'count="50" stride="3"'), "50 rows"),
        (collada(QUAD, NODE).replace('stride="3"', 'stride="0"', 1), "rows of 0"),
        (collada(QUAD, NODE, positions=[0, 0, 0, 2, 0, 0, 2, 0, "nan", 0, 0, 3, 1, 0, 5]), "1 of 5 vertices"),
        (collada(QUAD, "<node><scale>1 1 0</scale></node>"), "flattens space"),
        (collada(QUAD, "<node><matrix>1 0</matrix></node>"), "2 numbers, need 16"),
    ],
)
def test_broken_files_are_told(tmp_path, text, error):
    (tmp_path / "a.dae").write_text(text)
    with pytest.raises(InputError, match=r"a\.dae") as caught:
        load_mesh(tmp_path / "a.dae", "model m", Notes(), trust_collada=True)
    assert error in str(caught.value)


def test_nodes_that_multiply_each_other_are_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("aerialworld_core.world.collada._MAX_NODES", 1000)
    levels = "".join(f'<node id="n{i}">' + f'<instance_node url="#n{i + 1}"/>' * 10 + "</node>" for i in range(9))
    nodes = f'<library_nodes>{levels}<node id="n9"/></library_nodes>'
    (tmp_path / "a.dae").write_text(collada(QUAD, '<node><instance_node url="#n0"/></node>', extra=nodes))
    with pytest.raises(WorldError, match="more than 1000 nodes"):
        load_mesh(tmp_path / "a.dae", "model m", Notes(), trust_collada=True)


def test_what_is_not_read_is_noted(load):
    lines = '<lines count="1"><input semantic="VERTEX" source="#ver" offset="0"/><p>0 1</p></lines>'
    nodes = NODE + '<node><instance_controller url="#c"/></node>'
    world = load(collada(QUAD + lines, nodes, extra=MATERIALS.format("", "constant", "", "constant")))
    assert [n.split("a.dae: ")[-1] for n in world.notes] == [
        "material 'm' is not in the file: shown grey",
        "<lines> is not read",
        "<instance_controller> (a skinned body) is not read; it is missing",
    ]
    assert np.allclose(world.scene.materials[0].colour, 0.7)
