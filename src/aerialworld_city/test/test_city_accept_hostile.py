"""Hostile input, each case in a process of its own with 1.5 GiB and 20 s of CPU: a clear error or a reported skip.

Nothing outside the source and the output is opened (traced with strace where it is installed).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_child as child
from city_shapes import OBJ_BOX as OBJ

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:tran="http://www.opengis.net/citygml/transportation/2.0"
 xmlns:app="http://www.opengis.net/citygml/appearance/2.0" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:dem="http://www.opengis.net/citygml/relief/2.0" xmlns:gen="http://www.opengis.net/citygml/generics/2.0">
<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3"/></gml:boundedBy>
"""
TAIL = "</core:CityModel>"
A, B = (35.6600, 139.7400), (35.6601, 139.7401)


def corner(i, z, shift=0.0):
    return f"{(A, A, B, B)[i][0] + shift:.7f} {(A, B, B, A)[i][1]:.7f} {z}"


def ring(points, identifier=""):
    name = f' gml:id="{identifier}"' if identifier else ""
    return f"<gml:LinearRing{name}><gml:posList>{' '.join(points)}</gml:posList></gml:LinearRing>"


def polygon(points, identifier="", holes=()):
    name = f' gml:id="{identifier}"' if identifier else ""
    inner = "".join(f"<gml:interior>{ring(h)}</gml:interior>" for h in holes)
    outer = f"<gml:exterior>{ring(points, identifier and identifier + 'r')}</gml:exterior>"
    return f"<gml:surfaceMember><gml:Polygon{name}>{outer}{inner}</gml:Polygon></gml:surfaceMember>"


def box(shift=0.0):
    c = lambda i, z: corner(i, z, shift)  # noqa: E731
    faces = [[c(i, 3) for i in (0, 3, 2, 1, 0)], [c(i, 8) for i in (0, 1, 2, 3, 0)]]
    for i in range(4):
        j = (i + 1) % 4
        faces.append([c(i, 3), c(j, 3), c(j, 8), c(i, 8), c(i, 3)])
    return [polygon(f) for f in faces]


def building(identifier, polygons, extra=""):
    return (
        f'<core:cityObjectMember><bldg:Building gml:id="{identifier}">{extra}<bldg:lod1Solid><gml:Solid><gml:exterior>'
        f"<gml:CompositeSurface>{''.join(polygons)}</gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod1Solid>"
        "</bldg:Building></core:cityObjectMember>\n"
    )


def lod2(identifier, members, walls):
    surfaces = "".join(
        f"<bldg:boundedBy><bldg:WallSurface><bldg:lod2MultiSurface><gml:MultiSurface>{w}</gml:MultiSurface>"
        "</bldg:lod2MultiSurface></bldg:WallSurface></bldg:boundedBy>"
        for w in walls
    )
    return (
        f'<core:cityObjectMember><bldg:Building gml:id="{identifier}"><bldg:lod2Solid><gml:Solid><gml:exterior>'
        f"<gml:CompositeSurface>{''.join(members)}</gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod2Solid>"
        f"{surfaces}</bldg:Building></core:cityObjectMember>\n"
    )


def link(target, identifier=""):
    name = f' gml:id="{identifier}"' if identifier else ""
    return f'<gml:surfaceMember{name} xlink:href="{target}"/>'


def texture(uri, target="p0"):
    places = "0 0 1 0 1 1 0 1 0 0"
    return (
        "<app:appearanceMember><app:Appearance><app:theme>rgbTexture</app:theme><app:surfaceDataMember>"
        f"<app:ParameterizedTexture><app:imageURI>{uri}</app:imageURI><app:mimeType>image/jpg</app:mimeType>"
        f'<app:target uri="#{target}"><app:TexCoordList><app:textureCoordinates ring="#{target}r">{places}'
        "</app:textureCoordinates></app:TexCoordList></app:target></app:ParameterizedTexture>"
        "</app:surfaceDataMember></app:Appearance></app:appearanceMember>"
    )


GOOD = building("good", box())
ROOF = polygon([corner(i, 8) for i in (0, 1, 2, 3, 0)], "p0")
TEXTURED = building("good", [ROOF, *[p for i, p in enumerate(box()) if i != 1]])


def spiky(count):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = np.random.default_rng(0).uniform(0.3, 1.0, count)
    points = [f"{35.66 + 1e-3 * r * np.sin(a):.9f} {139.74 + 1e-3 * r * np.cos(a):.9f} 3"
              for a, r in zip(angle, radius, strict=True)]  # fmt: skip
    return [*points, points[0]]


def crossing(count):
    points = np.random.default_rng(1).uniform(0, 1e-3, (count, 2))
    listed = [f"{35.66 + a:.9f} {139.74 + b:.9f} 3" for a, b in points]
    return [*listed, listed[0]]


@pytest.fixture(scope="module")
def server():
    served = child.Child()
    yield served
    served.close()


def outcome(server, tmp_path, text, name="x_bldg_6697_op.gml", **options):
    """What one file leads to; always bounded, always an expected error or a whole world, nothing left behind."""
    path = tmp_path / "source" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = server.convert(path, tmp_path / "world", **options)
    whole(result, tmp_path)
    return result


def whole(result, tmp_path):
    assert result["outcome"] in ("world", "error"), result["message"]
    assert result["cpu_s"] < 20 and result["peak_mib"] < 1536
    left = {p.name for p in tmp_path.iterdir()} - {"source", "outside", "secret.jpg", "trace"}
    assert left == ({"world"} if result["outcome"] == "world" else set()), left
    if result["outcome"] == "world":
        assert np.isfinite(np.array(list(result["bounds"].values()), float)).all()


def refused(result, *words):
    assert result["outcome"] == "error" and result["exit_code"] == 2, result
    for word in words:
        assert re.search(word, result["message"], re.I), result["message"]


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
DOCTYPES = {
    "laughs": f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>',
    "quadratic": f'<!DOCTYPE a [<!ENTITY l9 "{"x" * 50_000}">]>',
    "external": '<!DOCTYPE a [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
    "parameter": '<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
    "dtd": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/none.dtd">',
}


@pytest.mark.parametrize("kind", DOCTYPES)
def test_document_types_are_refused(server, tmp_path, kind):
    body = HEAD.split("\n", 1)[1] + building("b", box(), "<gen:x>&l9;</gen:x>") + TAIL
    result = outcome(server, tmp_path, '<?xml version="1.0"?>' + DOCTYPES[kind] + body)
    refused(result, "DOCTYPE", r"x_bldg_6697_op\.gml")
    assert result["class"] == "UnsafeInputError" and "root:" not in result["message"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_archives_in_disguise_are_refused(server, tmp_path, pack):
    bomb = pack((HEAD + "<gml:x/>" * 300_000 + TAIL).encode())
    refused(outcome(server, tmp_path, bomb), r"x_bldg_6697_op\.gml")


def zipped(**members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_a_zip_called_gml_is_refused(server, tmp_path):
    refused(outcome(server, tmp_path, zipped(a=HEAD + GOOD + TAIL)), "zip")


@pytest.mark.parametrize(
    "text",
    [
        "<a>" * 100_000,
        HEAD + "<gen:x>" * 5_000 + "</gen:x>" * 5_000 + GOOD + TAIL,
        HEAD + GOOD + "<gen:x>" + "y" * 30_000_000 + "</gen:x>" + TAIL,
        HEAD + GOOD + f'<gen:x y="{"z" * 20_000_000}"/>' + TAIL,
        HEAD + building("b", ["<gml:surfaceMember><gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>"
                              + "35.66 139.74 3 " * 2_000_000 + "</gml:posList></gml:LinearRing></gml:exterior>"
                              "</gml:Polygon></gml:surfaceMember>"]) + TAIL,
        "\x00" * 1000,
        "﻿",
        HEAD,
        HEAD + GOOD,
        HEAD.encode() + b"\xff\xfe\xfa" + GOOD.encode() + TAIL.encode(),
    ],
    ids=["depth", "nested", "text", "attribute", "poslist", "zeros", "bom", "head", "unended", "not-utf8"],
)  # fmt: skip
def test_documents_that_are_too_deep_too_long_or_cut(server, tmp_path, text):
    result = outcome(server, tmp_path, text)
    if result["outcome"] == "error":
        refused(result, r"x_bldg_6697_op\.gml")


@pytest.mark.long
def test_a_very_long_document_of_nothing_is_bounded(server, tmp_path):
    """Three million empty elements in 24 MB: read through, in bounded memory."""
    result = outcome(server, tmp_path, HEAD + "<core:x/>" * 3_000_000 + GOOD + TAIL)
    assert result["peak_mib"] < 700
    assert result["outcome"] == "error" or result["written"]["buildings"] == 1


BAD = {
    "nan": [polygon([corner(0, 3), corner(1, 3), f"{B[0]} nan 3", corner(0, 3)])],
    "infinite": [polygon([corner(0, "inf"), corner(1, 3), corner(2, "-inf"), corner(0, 3)])],
    "far": [polygon([corner(0, 3), "1000000000 139.74 3", corner(2, 3), corner(0, 3)])],
    "far-east": [polygon([corner(0, 3), "35.66 1e9 3", corner(2, 3), corner(0, 3)])],
    "high": [polygon([corner(0, 3), corner(1, "1e9"), corner(2, 3), corner(0, 3)])],
    "overflow": [polygon([corner(0, 3), corner(1, "1e999"), corner(2, 3), corner(0, 3)])],
    "digits": [polygon([corner(0, 3), corner(1, "9" * 5000), corner(2, 3), corner(0, 3)])],
    "two": [polygon([corner(0, 3), corner(1, 3)])],
    "one": [polygon([corner(0, 3)])],
    "same": [polygon([corner(0, 3)] * 5)],
    "line": [polygon([corner(0, 3), corner(1, 3), corner(0, 3), corner(1, 3), corner(0, 3)])],
    "words": [polygon(["thirty five 3"])],
    "odd": [polygon([corner(0, 3), "35.66"])],
    "empty": [polygon([])],
    "none": [],
    "nowhere": [link("#nowhere"), link("#"), link("other.gml#p"), link("file:///etc/passwd#p"), link("http://127.0.0.1:9/x#p")],
    "crossing": [polygon(crossing(300))],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_broken_building_is_told_and_the_good_one_stays(server, tmp_path, name):
    result = outcome(server, tmp_path, HEAD + building("bad", BAD[name]) + GOOD + TAIL)
    assert result["outcome"] == "world"
    assert any("bad" in s[1] for s in result["skipped"]) or name == "crossing", result["skipped"]
    assert result["written"]["buildings"] == 1 + (name == "crossing" and result["written"]["buildings"] == 2)
    low, high = np.array(result["bounds"]["buildings"])
    assert (high - low)[0] < 200 and (high - low)[2] < 50
    strict = server.convert(tmp_path / "source" / "x_bldg_6697_op.gml", tmp_path / "strict", strict=True)
    if any("bad" in s[1] for s in result["skipped"]):
        refused(strict, "bad", r"x_bldg_6697_op\.gml")
        assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize("count", [10_000, 100_000])
@pytest.mark.parametrize("shape", [spiky, crossing])
def test_polygons_of_very_many_points(server, tmp_path, count, shape):
    result = outcome(server, tmp_path, HEAD + building("huge", [polygon(shape(count))]) + GOOD + TAIL)
    assert result["outcome"] == "world" and result["written"]["buildings"] >= 1
    assert result["cpu_s"] < 15


def test_very_many_holes(server, tmp_path):
    rng = np.random.default_rng(2)
    places = rng.uniform(0.00001, 0.00009, (5000, 2))
    steps = ((0, 0), (1e-7, 0), (0, 1e-7), (0, 0))
    holes = [[f"{A[0] + a + da:.9f} {A[1] + b + db:.9f} 8" for da, db in steps] for a, b in places]
    roof = polygon([corner(i, 8) for i in (0, 1, 2, 3, 0)], holes=holes)
    result = outcome(server, tmp_path, HEAD + building("sieve", [roof, *box()]) + GOOD + TAIL)
    assert result["cpu_s"] < 15


def test_links_in_circles_to_others_and_to_themselves(server, tmp_path):
    walls = [p.replace("<gml:Polygon>", f'<gml:Polygon gml:id="w{i}">') for i, p in enumerate(box())]
    circles = [link("#a", "b"), link("#b", "a"), link("#c", "c"), *[link(f"#w{i}") for i in range(6)]]
    result = outcome(server, tmp_path, HEAD + lod2("knot", circles, walls) + GOOD + TAIL)
    assert result["outcome"] == "world" and result["written"]["buildings"] == 2


@pytest.mark.parametrize(
    "count",
    [5_000, pytest.param(200_000, marks=pytest.mark.long)],
)
def test_a_link_given_again_and_again_costs_no_polygon_each(server, tmp_path, count):
    walls = [p.replace("<gml:Polygon>", f'<gml:Polygon gml:id="w{i}">') for i, p in enumerate(box())]
    members = [link(f"#w{i % 6}") for i in range(count)]
    result = outcome(server, tmp_path, HEAD + lod2("many", members, walls) + GOOD + TAIL)
    if result["outcome"] == "world":
        assert result["written"]["building triangles"] < 1000


def test_two_places_far_apart_make_no_endless_ground(server, tmp_path):
    away = building("far", [p.replace("35.66", "36.16").replace("139.74", "140.24") for p in box()])
    result = outcome(server, tmp_path, HEAD + GOOD + away + TAIL)
    if result["outcome"] == "world":
        assert result["written"]["models"] < 200


MARKUP = [
    "&lt;script&gt;",
    "&quot;/&gt;&lt;plugin filename=&quot;x.so&quot;/&gt;",
    "../../x",
    "a" * 5000,
    "名前 / \\ :",
    "..",
    "",
    "model://x",
    "%00",
    "CON",
    "$(id)",
]


@pytest.mark.parametrize("per_building", [False, True])
def test_ids_with_markup_stay_data(server, tmp_path, per_building):
    text = HEAD + "".join(building(m, box(0.0002 * i)) for i, m in enumerate(MARKUP)) + TAIL
    result = outcome(server, tmp_path, text, per_building=per_building)
    assert result["outcome"] == "world" and result["written"]["buildings"] == len(MARKUP)
    import xml.etree.ElementTree as ElementTree

    inside = (tmp_path / "world").resolve()
    for path in (tmp_path / "world").rglob("*"):
        assert path.resolve().is_relative_to(inside) and len(path.name) < 150
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", path.name), path.name
        if path.suffix == ".sdf":
            root = ElementTree.parse(path).getroot()  # noqa: S314
            allowed = {"gz-sim-label-system"} | {f"gz-sim-{s}-system" for s in ("physics", "sensors", "scene-broadcaster", "user-commands", "imu", "navsat", "contact", "magnetometer", "air-pressure")}  # fmt: skip # noqa: E501
            assert {p.get("filename") for p in root.iter("plugin")} <= allowed
            assert not [e.tag for e in root.iter() if e.tag in ("script", "include") and path.name == "model.sdf"]


# --- pictures ---------------------------------------------------------------------------------------------------------


def jpeg(size=(8, 8), colour=(1, 200, 3)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "JPEG")
    return data.getvalue()


URIS = [
    "../secret.jpg",
    "../../secret.jpg",
    "{tmp}/secret.jpg",
    "file://{tmp}/secret.jpg",
    "..\\secret.jpg",
    "link.jpg",
    "linked/secret.jpg",
    "folder/../../secret.jpg",
    "/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "C:\\secret.jpg",
    "http://127.0.0.1:9/x.jpg",
    "fifo.jpg",
    ".",
    "",
    "x" * 4000 + ".jpg",
    "a\tb.jpg",
]


@pytest.mark.parametrize("uri", [pytest.param(u, id=re.sub(r"\W+", "_", u)[:20] or "none") for u in URIS])
def test_pictures_outside_the_source_are_never_read(server, tmp_path, uri):
    import os

    (tmp_path / "secret.jpg").write_bytes(jpeg((64, 64), (250, 0, 250)))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.jpg").write_bytes(jpeg((64, 64), (250, 0, 250)))
    source = tmp_path / "source"
    source.mkdir()
    (source / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (source / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    os.mkfifo(source / "fifo.jpg")
    result = outcome(server, tmp_path, HEAD + TEXTURED + texture(uri.format(tmp=tmp_path)) + TAIL, wall_s=5)
    assert result["outcome"] == "world" and result["written"]["buildings"] == 1
    secret = jpeg((64, 64), (250, 0, 250))
    for path in (tmp_path / "world").rglob("*.glb"):
        assert secret not in path.read_bytes()
        for picture in pictures(path):
            middle = np.asarray(picture.convert("RGB"), int)
            assert not (np.abs(middle.reshape(-1, 3).mean(axis=0) - (250, 0, 250)) < 10).all(), uri


def pictures(path):
    import accept_city_truth as truth

    for part in truth.read_glb(path):
        if part.image:
            yield Image.open(io.BytesIO(part.image))


def png_bomb(width, height):
    """A PNG that declares a picture far larger than its bytes."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(64)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def tiff(size=(8, 8)):
    data = io.BytesIO()
    Image.new("RGB", size, (9, 9, 200)).save(data, "TIFF")
    return data.getvalue()


def truncated(data):
    return data[: len(data) // 2]


PICTURES = {
    "bomb": png_bomb(60_000, 60_000),
    "wide": png_bomb(2_000_000_000, 1),
    "empty": b"",
    "text": b"<html>not found</html>",
    "cut-jpeg": truncated(jpeg((200, 200))),
    "cut-tiff": truncated(tiff((200, 200))),
    "gif": b"GIF89a" + bytes(50),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_broken_pictures_become_colours_and_are_told(server, tmp_path, name, suffix):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / f"p{suffix}").write_bytes(PICTURES[name])
    result = outcome(server, tmp_path, HEAD + TEXTURED + texture(f"p{suffix}") + TAIL)
    assert result["outcome"] == "world" and result["written"]["buildings"] == 1
    assert f"p{suffix}" in (tmp_path / "world" / "conversion_report.json").read_text()
    assert result["cpu_s"] < 8


def test_a_picture_of_another_kind_than_its_name_says_is_read_or_told(server, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "p.jpg").write_bytes(tiff())
    result = outcome(server, tmp_path, HEAD + TEXTURED + texture("p.jpg") + TAIL)
    assert result["outcome"] == "world"


# --- zips -------------------------------------------------------------------------------------------------------------

GML = (HEAD + GOOD + TAIL).encode()


def entry(name, symlink=False):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (0o120777 if symlink else 0o100644) << 16
    return info


def archive(*members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as handle:
        for info, content in members:
            handle.writestr(info, content)
    return data.getvalue()


WANTED = (entry("udx/bldg/53394525_bldg_6697_op.gml"), GML)
ZIPS = {
    "dots": archive(WANTED, (entry("../../outside/evil_bldg_6697_op.gml"), GML)),
    "absolute": archive(WANTED, (entry("/tmp/evil_bldg_6697_op.gml"), GML)),  # noqa: S108
    "backslash": archive(WANTED, (entry("..\\..\\evil_bldg_6697_op.gml"), GML)),
    "drive": archive(WANTED, (entry("C:/evil_bldg_6697_op.gml"), GML)),
    "symlink": archive(WANTED, (entry("udx/bldg/54394525_bldg_6697_op.gml", True), "/etc/passwd")),
    "symlink-folder": archive((entry("udx/bldg", True), "/tmp"), WANTED),  # noqa: S108
    "case": archive(WANTED, (entry("UDX/BLDG/53394525_bldg_6697_op.gml"), GML)),
    "nested": archive(WANTED, (entry("udx/bldg/inner.zip"), zipped(a=GML))),
    "bomb": archive((entry("udx/bldg/53394525_bldg_6697_op.gml"), HEAD.encode() + b" " * 300_000_000 + TAIL.encode())),
    "many": archive(WANTED, *[(entry(f"x/{i}.txt"), "") for i in range(60_000)]),
    "not": b"PK\x03\x04" + bytes(500),
    "empty": archive(),
    "cut": archive(WANTED)[:-40],
    "long": archive((entry("udx/bldg/" + "x" * 60_000 + "_bldg_6697_op.gml"), GML)),
}


@pytest.mark.parametrize("name", ZIPS)
def test_hostile_zips_are_refused_or_read_within_bounds(server, tmp_path, name):
    (tmp_path / "outside").mkdir()
    result = outcome(server, tmp_path, ZIPS[name], name="set.zip")
    assert list((tmp_path / "outside").iterdir()) == []
    assert not Path("/tmp/evil_bldg_6697_op.gml").exists()  # noqa: S108
    if name in ("dots", "absolute", "backslash", "drive", "symlink", "symlink-folder", "bomb", "not", "empty", "cut"):
        refused(result, r"set\.zip")


def test_an_honest_zip_gives_the_same_buildings_as_its_folder(server, tmp_path):
    result = outcome(server, tmp_path, archive(WANTED), name="13100_tokyo_city_2022_citygml_1_op.zip")
    assert result["outcome"] == "world" and result["written"]["buildings"] == 1


# --- OBJ and meshes ---------------------------------------------------------------------------------------------------

OBJS = {
    "mtllib": "mtllib ../secret.mtl\nmtllib /etc/passwd\nusemtl a\n" + OBJ,
    "call": "call ../x.obj\ncsh -rm x\n" + OBJ,
    "index": OBJ + "f 1 2 999999999999\n",
    "zero": OBJ + "f 0 1 2\n",
    "negative": OBJ + "f -1 -2 -99\n",
    "nan": OBJ.replace("v -8000 -37000 3", "v nan -37000 3"),
    "huge": OBJ.replace("v -8000 -37000 3", "v 1e300 -37000 3"),
    "digits": OBJ + "f " + "9" * 5000 + " 2 3\n",
    "long": OBJ + "#" * 30_000_000 + "\n",
    "many": OBJ + "f " + "1 2 3 4 " * 500_000 + "\n",
    "continued": OBJ + "f 1 2 \\\n 3\n",
    "binary": OBJ.encode() + bytes(range(256)) * 100,
}


@pytest.mark.parametrize("name", OBJS)
def test_hostile_obj_files(server, tmp_path, name):
    result = outcome(server, tmp_path, OBJS[name], name="53393599_bldg_6677.obj")
    if result["outcome"] == "error":
        refused(result, r"53393599_bldg_6677\.obj")


# --- what is opened ---------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_outside_source_and_output_is_opened(tmp_path):
    """System calls of a whole conversion with every trick in it: no canary is opened, no socket is connected."""
    source = tmp_path / "source"
    source.mkdir()
    canary = tmp_path / "canary"
    canary.mkdir()
    for name in ("a.jpg", "b.gml", "c.xml", "d.mtl"):
        (canary / name).write_bytes(jpeg())
    uses = building("linked", [link("../canary/b.gml#p"), *box(0.0004)],
                    '<bldg:usage codeSpace="../canary/c.xml">411</bldg:usage>')  # fmt: skip
    looks = texture("../canary/a.jpg") + texture(f"{canary}/a.jpg") + texture("/etc/hostname")
    (source / "53394525_bldg_6697_op.gml").write_text(HEAD + TEXTURED + uses + looks + TAIL)
    (source / "53394525_bldg_6677.obj").write_text("mtllib ../canary/d.mtl\nusemtl a\n" + OBJ)
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=open,openat,connect,execve", "-o", str(trace), sys.executable,
               child.__file__, str(source), str(tmp_path / "world")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode in (0, 2), done.stderr[-2000:]
    calls = trace.read_text(errors="replace").splitlines()
    assert any("53394525_bldg_6697_op.gml" in c for c in calls)
    assert not [c for c in calls if "canary" in c and "open" in c]
    assert not [c for c in calls if "/etc/hostname" in c or "/etc/passwd" in c]
    assert not [c for c in calls if "connect(" in c and "AF_INET" in c]
