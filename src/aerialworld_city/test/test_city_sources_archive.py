"""Zip archives: good ones give their files to the byte, hostile ones a clear refusal and nothing on the disk."""

from __future__ import annotations

import io
import os
import resource
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources import archive as archives
from aerialworld_city.sources.archive import Archive
from aerialworld_city.sources.discover import each_source, open_sources
from aerialworld_city.sources.region import region
from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.files import StorageError

GML = b'<?xml version="1.0"?><core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0"/>\n'
NAME = "udx/bldg/53394525_bldg_6697_op.gml"


def info(name: str, mode: int | None = None, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("placeholder", (2022, 1, 1, 0, 0, 0))
    made.filename = name  # past the clean-up that the constructor does
    made.compress_type = method
    if mode is not None:
        made.create_system = 3
        made.external_attr = mode << 16
    return made


def make(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members:
            made.writestr(name if isinstance(name, zipfile.ZipInfo) else info(name), data)
    return path


def renamed(path: Path, old: bytes, new: bytes) -> Path:
    """Bytes of a zip replaced by as many others, in both of its directories."""
    assert len(old) == len(new)
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new))
    return path


def named(*names: str) -> Callable[[Path], Path]:
    return lambda path: make(path, *((name, GML) for name in (NAME, *names)))


def link(target: str, name: str = "udx/bldg/53394525_bldg_6697_2_op.gml") -> Callable[[Path], Path]:
    return lambda path: make(path, (info(name, stat.S_IFLNK | 0o777), target.encode()))


def special(mode: int) -> Callable[[Path], Path]:
    return lambda path: make(path, (NAME, GML), (info("udx/bldg/pipe.gml", mode | 0o644), b""))


def bomb(path: Path) -> Path:
    return make(path, (NAME, bytes(20_000_000)))


def many_small_bombs(path: Path) -> Path:
    """Each below the size from which a ratio counts, together far above."""
    return make(path, *((f"udx/bldg/5339{n:04d}_bldg_x{n}_op.gml", bytes(60_000)) for n in range(1500, 2000)))


def with_zeros(path: Path) -> Path:
    return renamed(make(path, ("udx/bldg/a@b_bldg_.gml", GML)), b"a@b_bldg", b"a\0b_bldg")


def backslash(path: Path) -> Path:
    return renamed(make(path, ("udx/bldg@..@..@x_bldg.gml", GML)), b"bldg@..@..@x", b"bldg\\..\\..\\x")


def patched_size(change: int) -> Callable[[Path], Path]:
    """The directory states another size than the member has."""

    def made(path: Path) -> Path:
        make(path, (info(NAME, method=zipfile.ZIP_STORED), GML))
        raw = bytearray(path.read_bytes())
        at = raw.rindex(b"PK\x01\x02")
        size = struct.unpack_from("<L", raw, at + 24)[0]
        struct.pack_into("<L", raw, at + 24, size + change)
        path.write_bytes(raw)
        return path

    return made


def overlapping(path: Path) -> Path:
    """Two entries of the directory for one member's bytes."""
    make(path, (info("udx/bldg/a_bldg_1.gml"), GML), (info("udx/bldg/a_bldg_2.gml"), GML))
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    struct.pack_into("<L", raw, at + 42, 0)  # the second begins where the first does
    path.write_bytes(raw)
    return path


def offset_beyond(path: Path) -> Path:
    make(path, (NAME, GML))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<L", raw, raw.rindex(b"PK\x01\x02") + 42, 0x7FFFFFFF)
    path.write_bytes(raw)
    return path


def encrypted(path: Path) -> Path:
    make(path, (NAME, GML))
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.rindex(signature)
        struct.pack_into("<H", raw, at + offset, 1)
    path.write_bytes(raw)
    return path


def method(number: int) -> Callable[[Path], Path]:
    def made(path: Path) -> Path:
        make(path, (NAME, GML))
        raw = bytearray(path.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            struct.pack_into("<H", raw, raw.rindex(signature) + offset, number)
        path.write_bytes(raw)
        return path

    return made


def flipped(path: Path) -> Path:
    make(path, (info(NAME, method=zipfile.ZIP_STORED), GML))
    return renamed(path, b"citygml/2.0", b"citygml/2.1")


def cut(path: Path) -> Path:
    path.write_bytes(make(path, (NAME, GML * 1000)).read_bytes()[:-30])
    return path


def written(data: bytes) -> Callable[[Path], Path]:
    def made(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return made


def local_name_differs(path: Path) -> Path:
    """The member's own header names another file than the directory: a disguise."""
    make(path, (NAME, GML))
    raw = bytearray(path.read_bytes())
    at = raw.index(NAME.encode())
    raw[at : at + 3] = b"../"
    path.write_bytes(raw)
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], type[Exception]]] = {
    "parent folder": (named("../../evil.gml"), UnsafeInputError),
    "parent inside": (named("udx/../../evil_bldg.gml"), UnsafeInputError),
    "parent of another kind of file": (named("../evil.txt"), UnsafeInputError),
    "parent folder entry": (named("udx/../"), UnsafeInputError),
    "dot": (named("udx/./bldg/a_bldg.gml"), UnsafeInputError),
    "empty part": (named("udx//bldg/a_bldg.gml"), UnsafeInputError),
    "absolute": (named("/evil/evil_bldg.gml"), UnsafeInputError),
    "absolute codelist": (named("/codelists/Building_usage.xml"), UnsafeInputError),
    "drive": (named("C:/evil_bldg.gml"), UnsafeInputError),
    "drive alone": (named("c:evil_bldg.gml"), UnsafeInputError),
    "backslash": (backslash, UnsafeInputError),
    "zero byte": (with_zeros, UnsafeInputError),
    "new line": (named("udx/bldg/a\nb_bldg.gml"), UnsafeInputError),
    "escape": (named("udx/bldg/\x1b[2Ja_bldg.gml"), UnsafeInputError),
    "long part": (named("udx/bldg/" + "x" * 300 + "_bldg.gml"), UnsafeInputError),
    "deep": (named("a/" * 40 + "x_bldg.gml"), UnsafeInputError),
    "link to a file": (link("/etc/passwd"), UnsafeInputError),
    "link to a folder": (link("../..", "udx/bldg"), UnsafeInputError),
    "link to an image": (link("/etc/passwd", "udx/bldg/53394525_bldg_6697_appearance/a.jpg"), UnsafeInputError),
    "pipe": (special(stat.S_IFIFO), UnsafeInputError),
    "device": (special(stat.S_IFCHR), UnsafeInputError),
    "socket": (special(stat.S_IFSOCK), UnsafeInputError),
    "folder by its mode": (special(stat.S_IFDIR), UnsafeInputError),
    "twice": (named(NAME), UnsafeInputError),
    "twice by case": (named(NAME.upper()), UnsafeInputError),
    "twice by composition": (named("udx/bldg/\u304c_bldg.gml", "udx/bldg/\u304b\u3099_bldg.gml"), UnsafeInputError),
    "file and folder": (named(NAME + "/x_bldg.gml"), UnsafeInputError),
    "bomb": (bomb, UnsafeInputError),
    "many small bombs": (many_small_bombs, UnsafeInputError),
    "overlapping": (overlapping, UnsafeInputError),
    "offset beyond the end": (offset_beyond, InputError),
    "more bytes than stated": (patched_size(-20), InputError),
    "fewer bytes than stated": (patched_size(+1), InputError),
    "stated as huge": (patched_size(0x70000000), InputError),
    "encrypted": (encrypted, InputError),
    "deflate64": (method(9), InputError),
    "bzip2 that is none": (method(12), InputError),
    "lzma": (method(14), InputError),
    "unknown method": (method(99), InputError),
    "flipped bit": (flipped, InputError),
    "cut": (cut, InputError),
    "another name inside": (local_name_differs, InputError),
    "empty file": (written(b""), InputError),
    "no zip": (written(b"hello, this is no zip at all"), InputError),
    "end record alone": (written(b"PK\x05\x06" + bytes(18)), InputError),
    "65,535 entries claimed": (
        written(b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, *[65535] * 2, 1 << 24, 0, 0)), InputError,
    ),
    "only another archive": (lambda path: make(path, ("udx/inner.zip", b"PK")), InputError),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path, case):
    build, error = HOSTILE[case]
    outer = tmp_path / "outer"
    work = outer / "work"
    work.mkdir(parents=True)
    path = build(tmp_path / "city.zip")
    before = sorted(p for p in tmp_path.rglob("*"))
    with pytest.raises(error) as raised, open_sources([path], ConversionOptions(), work):
        pass
    assert "city.zip" in str(raised.value)
    assert str(raised.value).isprintable(), "a name from the archive must not reach the terminal as it is"
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_a_bomb_costs_no_memory_or_time(tmp_path):
    path = bomb(tmp_path / "city.zip")
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises(UnsafeInputError, match="expands more than 200 times"):
        with open_sources([path], ConversionOptions(), tmp_path / "work"):
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - begin < 1.0


def city(path: Path, **more: bytes) -> Path:
    """A data set with two tiles, images, codelists, and much that nobody asked for."""
    image = os.urandom(2000)
    gml = b"<x:CityModel xmlns:x='a' xmlns:app='b'><app:imageURI>%s</app:imageURI></x:CityModel>"
    folder = "13100_tokyo23-ku_2022_citygml_1_3_op"
    return make(
        path,
        (f"{folder}/udx/", b""),
        (f"{folder}/udx/bldg/53394525_bldg_6697_2_op.gml", gml % b"53394525_bldg_6697_appearance/a%20b.jpg"),
        (f"{folder}/udx/bldg/53394525_bldg_6697_appearance/a b.jpg", image),
        (f"{folder}/udx/bldg/53394525_bldg_6697_appearance/unused.jpg", image),
        (f"{folder}/udx/bldg/53394611_bldg_6697_op.gml", gml % b"53394611_bldg_6697_appearance/c.jpg"),
        (f"{folder}/udx/bldg/53394611_bldg_6697_appearance/c.jpg", image),
        (f"{folder}/udx/dem/533945_dem_6697_op.gml", GML),
        (f"{folder}/udx/fld/53394525_fld_6697_op.gml", GML),
        (f"{folder}/codelists/Building_usage.xml", b"<a/>"),
        (f"{folder}/schemas/x.xsd", b"<a/>"),
        (f"{folder}/more.zip", b"PK"),
        ("__MACOSX/udx/bldg/53394525_bldg_6697_op.gml", GML),
        *more.items(),
    )


def test_only_what_is_wanted_is_unpacked(tmp_path):
    path = city(tmp_path / "13100_tokyo23-ku_2022_citygml_1_3_op.zip")
    options = ConversionOptions(region=region(["53394525"]))
    with open_sources([path], options, tmp_path / "work") as sources:
        names = [f.name for f in sources.files]
        root = sources.files[0].root
        there = sorted(p.relative_to(root).as_posix().partition("/")[2] for p in root.rglob("*") if p.is_file())
        assert [n.partition("/")[2] for n in names] == [
            "udx/bldg/53394525_bldg_6697_2_op.gml", "udx/dem/533945_dem_6697_op.gml",
        ]  # fmt: skip
        assert there == [
            "codelists/Building_usage.xml",
            "udx/bldg/53394525_bldg_6697_2_op.gml",
            "udx/bldg/53394525_bldg_6697_appearance/a b.jpg",
            "udx/dem/533945_dem_6697_op.gml",
        ]
        assert (sources.city_code, sources.name) == ("13100", path.stem)
        assert all(f.path.is_relative_to(tmp_path / "work") and f.path.read_bytes() for f in sources.files)
        assert stat.S_IMODE(sources.files[0].path.stat().st_mode) & 0o077 == 0
        with zipfile.ZipFile(path) as archive:
            for file in sources.files:
                assert file.path.read_bytes() == archive.read(file.name)
        assert any("archive within the archive" in line for line in sources.passed_over)
        assert any("fld is not converted" in line for line in sources.passed_over)
    assert list((tmp_path / "work").iterdir()) == []


def test_without_textures_no_image_is_unpacked(tmp_path):
    path = city(tmp_path / "city.zip")
    with open_sources([path], ConversionOptions(textures=False), tmp_path / "work") as sources:
        assert not list(sources.files[0].root.rglob("*.jpg"))


def test_an_image_that_expands_too_far_costs_the_image_not_the_city(tmp_path):
    """A picture of one colour may pack better than 200 times; the wall it was for is drawn instead."""
    path = make(
        tmp_path / "city.zip",
        (NAME, b"<a><imageURI>i/white.tif</imageURI></a>"),
        ("udx/bldg/i/white.tif", bytes(5_000_000)),
    )
    with open_sources([path], ConversionOptions(), tmp_path / "work") as sources:
        assert [f.name for f in sources.files] == [NAME]
        assert not list(sources.files[0].root.rglob("*.tif"))
        assert any("white.tif (expands too far" in line for line in sources.passed_over)


@pytest.mark.parametrize(
    "uri", ["../../../etc/passwd", "/etc/passwd", "..%2F..%2Fx.jpg", "C:\\x.jpg", "http://x/y.jpg", "\\\\x"]
)
def test_image_names_that_lead_elsewhere_name_nothing_in_the_archive(tmp_path, uri):
    path = make(tmp_path / "city.zip", (NAME, b"<a><imageURI>" + uri.encode() + b"</imageURI></a>"))
    with open_sources([path], ConversionOptions(), tmp_path / "work") as sources:
        assert [p.name for p in sources.files[0].root.rglob("*") if p.is_file()] == [Path(NAME).name]


def test_members_of_an_obj_release_come_with_their_materials(tmp_path):
    path = make(
        tmp_path / "obj.zip",
        ("bldg/lod2/53394611/53394611_bldg_6677.obj", b"v 0 0 0"),
        ("bldg/lod2/53394611/materials.mtl", b"newmtl a"),
        ("bldg/lod2/53394611/materials_textures/a.jpg", b"x"),
        ("bldg/lod2/53394525/53394525_bldg_6677.obj", b"v 0 0 0"),
        ("bldg/lod2/53394525/materials_textures/b.jpg", b"x"),
        ("readme.txt", b"x"),
    )
    options = ConversionOptions(region=region(["53394611"]))
    with open_sources([path], options, tmp_path / "work") as sources:
        (file,) = sources.files
        assert (file.module, file.format, file.mesh, file.lod) == ("bldg", "obj", "53394611", 2)
        beside = sorted(p.relative_to(file.path.parent).as_posix() for p in file.root.rglob("*") if p.is_file())
        assert beside == ["53394611_bldg_6677.obj", "materials.mtl", "materials_textures/a.jpg"]


def test_names_of_windows_code_pages_are_no_backslashes(tmp_path):
    """表 ends in the byte of a backslash in code page 932; such names are common in Japan and harmless."""
    path = make(tmp_path / "city.zip", (NAME, GML), ("docs/@@.txt", b"x"))
    renamed(path, b"@@", "表".encode("cp932"))
    with Archive(path) as opened:
        assert set(opened.members) == {NAME, "docs/表.txt"}


def test_a_zip64_archive_is_read(tmp_path):
    path = tmp_path / "city.zip"
    with zipfile.ZipFile(path, "w") as made, made.open(info(NAME), "w", force_zip64=True) as member:
        member.write(GML)
    assert b"PK\x03\x04\x2d\x00" in path.read_bytes()[:8]
    with open_sources([path], ConversionOptions(), tmp_path / "work") as sources:
        assert sources.files[0].path.read_bytes() == GML


def test_a_zip_after_other_bytes_is_read_by_its_own_offsets(tmp_path):
    path = make(tmp_path / "city.zip", (NAME, GML))
    path.write_bytes(b"#!/bin/sh\n" * 20 + path.read_bytes())
    with open_sources([path], ConversionOptions(), tmp_path / "work") as sources:
        assert sources.files[0].path.read_bytes() == GML


def test_a_link_planted_below_the_work_folder_is_not_written_through(tmp_path):
    path, victim = make(tmp_path / "city.zip", (NAME, GML)), tmp_path / "victim"
    victim.mkdir()
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "udx").symlink_to(victim)
    with Archive(path) as opened, pytest.raises(UnsafeInputError):
        opened.unpack([NAME], folder)
    assert list(victim.iterdir()) == []


def test_no_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    class Full:
        f_bavail, f_frsize = 0, 4096

    path = make(tmp_path / "city.zip", (NAME, GML))
    monkeypatch.setattr(archives.os, "statvfs", lambda _: Full)
    with pytest.raises(StorageError, match="choose a part with --mesh"):
        with open_sources([path], ConversionOptions(), tmp_path / "work"):
            pass
    assert not list((tmp_path / "work").rglob("*.gml"))


def test_the_read_limit_counts_bytes_not_statements(tmp_path):
    path = make(tmp_path / "city.zip", (NAME, os.urandom(5000)))
    with Archive(path) as opened:
        assert len(opened.read(NAME, 5000)) == 5000
        with pytest.raises(UnsafeInputError, match="larger than"):
            opened.read(NAME, 4999)


def test_information_needs_the_room_of_one_file_only(tmp_path):
    path = city(tmp_path / "city.zip")
    work = tmp_path / "work"
    seen = []
    with each_source([path], ConversionOptions(modules=("bldg",)), work) as sources:
        for file, has_image in sources:
            here = [p for p in work.rglob("*.gml")]
            seen.append(
                (file.mesh, len(here), has_image(f"{file.mesh}_bldg_6697_appearance/c.jpg"), has_image("x.jpg"))
            )
    assert seen == [("53394525", 1, False, False), ("53394611", 1, True, False)]
    assert list(work.iterdir()) == []


def test_deflate_data_that_ends_early(tmp_path):
    """A stream that claims to be whole: its checksum and length are those of more."""
    data = GML * 50
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(data[:500]) + packed.flush()
    path, stream = tmp_path / "city.zip", io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr(info(NAME, method=zipfile.ZIP_STORED), body)
    raw = bytearray(stream.getvalue())
    for signature, at_method, at_crc in ((b"PK\x03\x04", 8, 14), (b"PK\x01\x02", 10, 16)):
        at = raw.rindex(signature)
        struct.pack_into("<H", raw, at + at_method, 8)
        struct.pack_into("<LLL", raw, at + at_crc, zlib.crc32(data), len(body), len(data))
    path.write_bytes(raw)
    with pytest.raises(InputError, match="damaged"), open_sources([path], ConversionOptions(), tmp_path / "work"):
        pass


def mutated(raw: bytes, rng: np.random.Generator) -> bytes:
    """One to six changes, most of them in the archive's directory, where the harm is."""
    data, directory = bytearray(raw), raw.index(b"PK\x01\x02")
    for _ in range(rng.integers(1, 7)):
        low = directory if rng.random() < 0.7 and directory < len(data) else 0
        at = int(rng.integers(low, len(data)))
        kind = rng.random()
        if kind < 0.5:
            data[at] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))
        elif kind < 0.7:
            words = [b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f", b"PK\x01\x02"]
            data[at : at + 4] = words[rng.integers(4)]
        elif kind < 0.85:
            del data[at : at + int(rng.integers(1, 40))]
        else:
            data[at:at] = data[low : low + int(rng.integers(1, 60))]
    return bytes(data)


def survive(folder: Path, seeds: range) -> None:
    base = city(folder / "base.zip").read_bytes()
    path, work = folder / "city.zip", folder / "work"
    for seed in seeds:
        path.write_bytes(mutated(base, np.random.default_rng(seed)))
        try:
            with open_sources([path], ConversionOptions(), work) as sources:
                assert all(f.path.is_relative_to(work) for f in sources.files), seed
        except InputError:
            pass
        assert sorted(p.name for p in folder.iterdir()) in (["base.zip", "city.zip"], ["base.zip", "city.zip", "work"])
        assert not work.exists() or not list(work.iterdir()), seed


def test_damaged_archives_end_in_an_input_error_or_in_whole_files(tmp_path):
    survive(tmp_path, range(400))


@pytest.mark.soak
def test_very_many_damaged_archives(tmp_path):
    survive(tmp_path, range(400, 100_400))
