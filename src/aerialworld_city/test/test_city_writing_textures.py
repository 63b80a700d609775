"""Photographs: kept where they can be, converted where they must, refused where they may not."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerialworld_city.writing.textures import MAX_PIXELS, TextureError, Textures

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "plateau"
#: Four quarters of different colour, so that turns and flips show.
QUARTERS = np.array([[[220, 30, 30], [30, 200, 40]], [[40, 50, 210], [230, 220, 60]]], np.uint8)


def picture(size=64, quarters=QUARTERS):
    return Image.fromarray(np.kron(quarters, np.ones((size // 2, size // 2, 1), np.uint8)))


def saved(image, path, **options):
    image.save(path, **options)
    return path


def pixels(photo):
    with Image.open(io.BytesIO(photo.data)) as image:
        assert image.size == (photo.width, photo.height)
        assert image.format == {"image/jpeg": "JPEG", "image/png": "PNG"}[photo.mime]
        return np.asarray(image.convert("RGB"), np.float64)


def corners(array):
    """The colours in the middle of the four quarters."""
    height, width = array.shape[:2]
    return array[[height // 4, height // 4, -height // 4, -height // 4], [width // 4, -width // 4] * 2]


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", {"quality": 80}), ("b.JPG", {"format": "JPEG"}), ("c.png", {}), ("really_a_png.jpg", {"format": "PNG"})],
)
def test_jpeg_and_png_keep_their_bytes_whatever_their_name(tmp_path, name, options):
    path = saved(picture(), tmp_path / name, **options)
    photo = Textures(64).load(path, tmp_path)
    assert photo.data == path.read_bytes()
    assert corners(pixels(photo)) == pytest.approx(QUARTERS.reshape(4, 3), abs=6)
    assert photo.mean == pytest.approx(QUARTERS.mean(axis=(0, 1)) / 255, abs=0.01)


def test_metadata_is_not_stripped(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "taken from the air"
    exif[0x0112] = 6  # "turned": texture coordinates mean the stored rows, so it stays unturned
    path = saved(picture(), tmp_path / "a.jpg", exif=exif)
    assert Textures(64).load(path, tmp_path).data == path.read_bytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_larger_images_are_made_smaller_without_turning_or_greying(tmp_path, kind):
    image = picture(256).resize((256, 128), Image.Resampling.NEAREST)
    path = saved(image, tmp_path / "large.img", format=kind)
    photo = Textures(100).load(path, tmp_path)
    assert (photo.width, photo.height) == (100, 50) and photo.mime == f"image/{kind.lower()}"
    assert corners(pixels(photo)) == pytest.approx(QUARTERS.reshape(4, 3), abs=6)
    assert Textures(100).load(path, tmp_path) == photo


@pytest.mark.parametrize("packing", [None, "tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_tiff_becomes_jpeg(tmp_path, packing):
    path = saved(picture(), tmp_path / "a.tif", compression=packing)
    photo = Textures(2048).load(path, tmp_path)
    assert photo.mime == "image/jpeg" and (photo.width, photo.height) == (64, 64)
    assert corners(pixels(photo)) == pytest.approx(QUARTERS.reshape(4, 3), abs=6)


def test_a_transparent_tiff_becomes_png_with_its_transparency(tmp_path):
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.kron(np.array([[255, 10], [255, 255]], np.uint8), np.ones((32, 32), np.uint8))))
    photo = Textures(2048).load(saved(image, tmp_path / "a.tif"), tmp_path)
    assert photo.mime == "image/png"
    with Image.open(io.BytesIO(photo.data)) as back:
        assert np.array_equal(np.asarray(back), np.asarray(image))


def test_what_only_some_readers_know_becomes_eight_bit_rgb(tmp_path):
    grey16 = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    expected = np.round(grey16 / 257)
    for name in ("grey16.png", "grey16.tif"):
        photo = Textures(64).load(saved(Image.fromarray(grey16), tmp_path / name), tmp_path)
        assert np.abs(pixels(photo).mean(axis=2) - expected).max() < 4
    palette = Textures(64).load(saved(picture().convert("P"), tmp_path / "p.png"), tmp_path)
    assert palette.data[24:26] == b"\x08\x02" and corners(pixels(palette)) == pytest.approx(
        corners(np.asarray(picture().convert("P").convert("RGB"), float))
    )
    cmyk = Textures(64).load(saved(picture().convert("CMYK"), tmp_path / "cmyk.jpg"), tmp_path)
    with Image.open(io.BytesIO(cmyk.data)) as back:
        assert back.mode == "RGB"
    assert corners(pixels(cmyk)) == pytest.approx(QUARTERS.reshape(4, 3), abs=8)
    grey = Textures(64).load(saved(picture().convert("L"), tmp_path / "grey.jpg"), tmp_path)
    assert np.ptp(pixels(grey), axis=2).max() == 0
    one = Textures(64).load(saved(picture().convert("1"), tmp_path / "one.png"), tmp_path)
    assert set(np.unique(pixels(one))) == {0, 255}
    floats = saved(Image.fromarray(np.ones((4, 4), np.float32)), tmp_path / "f.tif")
    with pytest.raises(TextureError, match=r"f\.tif: has floating-point pixels"):
        Textures(64).load(floats, tmp_path)


def test_equal_names_are_equal_images(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = saved(picture(), tmp_path / "a" / "壁 1.png")
    other = saved(picture(32), tmp_path / "b" / "壁 1.png")
    textures = Textures(64)
    one, two = textures.load(first, tmp_path), textures.load(other, tmp_path)
    assert one.name != two.name and one.name.isascii() and textures.load(first, tmp_path) is one


def refused(path, root, message, textures=None):
    for _ in range(2):  # also from the memory of bad ones
        with pytest.raises(TextureError, match=message):
            (textures or Textures(64)).load(path, root)


def test_paths_that_leave_the_source_are_refused(tmp_path):
    root = tmp_path / "source"
    root.mkdir()
    outside = saved(picture(), tmp_path / "secret.png")
    inside = saved(picture(), root / "a.png")
    (root / "link.png").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    (root / "near.png").symlink_to(inside)
    textures = Textures(64)
    for path in (root / ".." / "secret.png", outside, root / "link.png", root / "folder" / "secret.png", root):
        refused(path, root, "leaves the source's folder; refused", textures)
    refused(root / ".." / "not_there.png", root, "leaves the source's folder; refused", textures)
    refused(Path("/etc/hostname"), root, "leaves the source's folder|no JPEG", textures)
    assert textures.load(root / "near.png", root).data == inside.read_bytes()


def test_names_that_differ_in_case_only_are_found_when_there_is_no_doubt(tmp_path):
    path = saved(picture(), tmp_path / "HNAP0001.JPG", format="JPEG")
    textures = Textures(64)
    assert textures.load(tmp_path / "hnap0001.jpg", tmp_path).data == path.read_bytes()
    saved(picture(32), tmp_path / "Hnap0001.jpg", format="JPEG")
    os.utime(tmp_path, ns=(1, 1))
    refused(tmp_path / "hnap0001.jpg", tmp_path, "hnap0001.jpg: no such file", textures)
    assert textures.load(path, tmp_path).data == path.read_bytes()
    root = tmp_path / "source"
    root.mkdir()
    refused(root / ".." / "HNAP0001.jpg", root, "leaves the source's folder", textures)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    picture().save(tmp_path / "a.bmp")
    picture().save(tmp_path / "a.webp")
    for name in ("text.png", "empty.jpg", "a.bmp", "a.webp"):
        refused(tmp_path / name, tmp_path, f"{name}: is no JPEG, PNG or TIFF image")
    refused(tmp_path / "missing.jpg", tmp_path, "missing.jpg: no such file")
    refused(tmp_path / "folder.png", tmp_path, "folder.png: ")
    refused(tmp_path / "text.png" / "x.jpg", tmp_path, "x.jpg: no such file")
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", tmp_path, "pipe.jpg: cannot be read: not a regular file")
    jpeg_tiff = saved(picture(), tmp_path / "j.tif", compression="jpeg")
    refused(jpeg_tiff, tmp_path, "j.tif: TIFF packed with jpeg is not read")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_images_that_are_cut_off_or_flipped_are_errors_or_images(tmp_path, kind):
    out = io.BytesIO()
    rng = np.random.default_rng(5)
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(out, kind)
    whole = out.getvalue()
    for length in range(0, len(whole) - 200, max(1, len(whole) // 40)):
        path = tmp_path / "cut.img"
        path.write_bytes(whole[:length])
        with pytest.raises(TextureError, match="cut"):
            Textures(64).load(path, tmp_path)
    for place in rng.integers(0, len(whole), 60):
        broken = bytearray(whole)
        broken[place] ^= 1 << rng.integers(8)
        (tmp_path / "flipped.img").write_bytes(broken)
        try:
            Textures(64).load(tmp_path / "flipped.img", tmp_path)
        except TextureError as error:
            assert "flipped.img" in str(error)


def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for width, height in ((8193, 8192), (60_000, 60_000), (2**31 - 1, 1)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        path = tmp_path / f"bomb_{width}.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        )
        assert width * height > MAX_PIXELS
        refused(path, tmp_path, f"bomb_{width}.png: .*64 Mpx")


def test_images_inside_mesh_files_are_read_from_their_place(tmp_path):
    out = io.BytesIO()
    picture().save(out, "PNG")
    image = out.getvalue()
    (tmp_path / "m.glb").write_bytes(b"x" * 100 + image + b"y" * 50)
    uri = b"data:image/png;base64," + base64.b64encode(image)
    (tmp_path / "m.gltf").write_bytes(b"{" + uri + b"}")
    textures = Textures(64)
    assert textures.load(tmp_path / "m.glb", tmp_path, (100, len(image))).data == image
    assert textures.load(tmp_path / "m.gltf", tmp_path, (1, len(uri))).data == image
    for span in ((100, len(image) + 1000), (-1, 5), (0, 2**40)):
        with pytest.raises(TextureError):
            textures.load(tmp_path / "m.glb", tmp_path, span)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real PLATEAU files below {SHARED}: set AERIALWORLD_SHARED")
def test_every_real_photograph_loads_and_jpegs_keep_their_bytes():
    textures, count = Textures(4096), 0
    for path in sorted(SHARED.rglob("*")):
        if path.suffix.lower() not in (".jpg", ".tif", ".png") or "12_" in str(path) or path.stat().st_size > 2e6:
            continue
        photo = textures.load(path, SHARED)
        count += 1
        with Image.open(path) as image:
            assert (photo.width, photo.height) == image.size
            if image.format == "JPEG":
                assert photo.data == path.read_bytes()
            else:
                original = np.asarray(image.convert("RGB"), float)
                assert np.abs(pixels(photo) - original).mean() < 4
    assert count > 60
