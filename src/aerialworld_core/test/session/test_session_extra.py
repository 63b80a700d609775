"""Depth, class and instance images in sessions: what is written is read, damage is found, a killed writer goes on."""

from __future__ import annotations

import io
import random
import zlib

import numpy as np
import pytest
from PIL import Image

from aerialworld_core.errors import SessionError
from aerialworld_core.session import Session, SessionMeta, SessionWriter, session_info, validate
from aerialworld_core.session.extra_files import FARTHEST, encode, image_sizes, metres
from aerialworld_core.session.layout import EXTRA


def images(rig, index: int) -> dict[tuple[str, str], np.ndarray]:
    """A wall at some distance with sky above it, different in every image."""
    made = {}
    for number, (name, (height, width)) in enumerate(image_sizes(rig).items()):
        rng = np.random.default_rng(100 * index + number)
        depth = np.linspace(2, 90, height * width, dtype=np.float32).reshape(height, width)
        depth += rng.uniform(0, 0.5, (height, width)).astype(np.float32)
        depth[: height // 3] = np.inf
        depth[-1, :3] = -np.inf
        seen = np.isfinite(depth)
        made["depth", name] = depth
        made["semantic", name] = np.where(seen, rng.integers(11, 17, depth.shape), 0).astype(np.uint8)
        made["instance", name] = np.where(seen, rng.integers(1, 65536, depth.shape), 0).astype(np.uint16)
    return made


def encoded(rig, index: int, kinds=EXTRA) -> dict[tuple[str, str], bytes]:
    return {key: encode(key[0], image) for key, image in images(rig, index).items() if key[0] in kinds}


@pytest.fixture
def kept(tmp_path, synthetic, recorded):
    """A closed session of four frames with everything kept."""
    with SessionWriter(tmp_path / "kept", synthetic.meta(kept=EXTRA), synthetic.MISSION, {}, sync=False) as writer:
        for index in range(4):
            writer.write_frame(index, *recorded[index], extra=encoded(synthetic.RIG, index))
    return writer.path


def test_what_is_written_is_read(kept, synthetic):
    session = Session.open(kept)
    assert session.meta.kept == EXTRA and session_info(kept)["kept"] == list(EXTRA)
    assert set(image_sizes(synthetic.RIG)) == {"CAM_FRONT", "CAM_BACK", *(f.name for f in synthetic.RIG.depth)}
    for index in range(4):
        for (kind, name), image in images(synthetic.RIG, index).items():
            read = getattr(session, kind)(index, name)
            assert read.shape == image.shape and read.dtype == image.dtype
            if kind == "depth":
                seen = np.isfinite(image)
                assert (read[~seen] == image[~seen]).all()
                assert np.abs(read[seen] - image[seen]).max() <= 0.005 + 1e-5
            else:
                assert (read == image).all()
    report = validate(kept)
    assert report.ok and not [w for w in report.warnings if "image" in w and "JPEG" not in w]


def test_the_files_are_plain_png_of_centimetres(kept, synthetic):
    """Read by another library, without ours."""
    file = kept / "depth/000002_CAM_BACK.png"
    with Image.open(file) as picture:
        assert picture.size == (64, 36)
        stored = np.array(picture)
    depth = images(synthetic.RIG, 2)["depth", "CAM_BACK"]
    assert (stored[depth == np.inf] == 65535).all() and (stored[depth == -np.inf] == 0).all()
    seen = np.isfinite(depth)
    assert (stored[seen] == np.floor(depth[seen] * 100 + 0.5)).all()
    assert {p.name.split("_", 1)[1] for p in (kept / "instance").iterdir()} == {
        f"{name}.png" for name in image_sizes(synthetic.RIG)
    }


def test_depth_at_the_ends_of_what_the_file_can_say():
    depth = np.array([[0.0, 0.001, 0.004, 0.005, 1.234567, FARTHEST, 655.36, 900.0, np.inf, -np.inf]], np.float32)
    with Image.open(io.BytesIO(encode("depth", depth))) as picture:
        assert np.array(picture).tolist() == [[1, 1, 1, 1, 123, 65534, 65535, 65535, 65535, 0]]
    assert metres(np.array([[0, 1, 65534, 65535]], np.uint16)).tolist() == [
        [-np.inf, np.float32(0.01), np.float32(655.34), np.inf]
    ]


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("depth", np.array([[np.nan, 1.0]], np.float32)),
        ("depth", np.zeros((0, 4), np.float32)),
        ("semantic", np.zeros((2, 2), np.uint16)),
        ("instance", np.zeros((2, 2), np.int32)),
        ("instance", np.zeros(4, np.uint16)),
    ],
)
def test_what_is_no_image_is_not_encoded(kind, image):
    with pytest.raises(SessionError):
        encode(kind, image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (33, 50), (180, 320)])
@pytest.mark.parametrize("kind", ["semantic", "instance"])
def test_any_image_comes_back_and_equal_ones_are_equal_bytes(kind, shape):
    rng = np.random.default_rng(sum(shape))
    image = rng.integers(0, 17 if kind == "semantic" else 65536, shape).astype(np.uint8 if kind == "semantic" else "u2")
    for layout in (image, np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2]):
        assert encode(kind, layout) == encode(kind, image)
    with Image.open(io.BytesIO(encode(kind, image))) as picture:
        assert (np.array(picture) == image).all()


def test_every_flipped_bit_is_detected(kept):
    rng = random.Random(3)  # noqa: S311
    session = Session.open(kept)
    for kind in EXTRA:
        file = kept / kind / "000001_CAM_FRONT.png"
        sound = file.read_bytes()
        for at in {0, len(sound) - 1, *(rng.randrange(len(sound)) for _ in range(40))}:
            damaged = bytearray(sound)
            damaged[at] ^= 1 << rng.randrange(8)
            file.write_bytes(damaged)
            assert session.damage(1)
            with pytest.raises(SessionError):
                getattr(session, kind)(1, "CAM_FRONT")
        file.write_bytes(sound[:-5])
        report = validate(kept)
        assert any(f"{kind}/000001_CAM_FRONT.png" in e for e in report.errors)
        file.write_bytes(sound)
    file.unlink()
    with pytest.raises(SessionError, match="missing"):
        session.instance(1, "CAM_FRONT")


def test_damaged_content_read_unverified_raises_our_errors_only(kept):
    rng = random.Random(8)  # noqa: S311
    session = Session.open(kept, verify=False)
    for kind in EXTRA:
        file = kept / kind / "000002_front.png"
        sound = file.read_bytes()
        for _ in range(60):
            damaged = bytearray(sound)
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            file.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
            try:
                getattr(session, kind)(2, "front")
            except SessionError:
                pass
        file.write_bytes(sound)


def test_a_png_that_is_another_is_refused(kept, synthetic):
    """Sizes, bits, colours and classes that the rig does not have; a bomb is not inflated."""
    session = Session.open(kept, verify=False)
    file = kept / "semantic/000000_front.png"
    sound = file.read_bytes()

    def saved(image, mode=None, **options) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image, mode).save(buffer, "PNG", **options)
        return buffer.getvalue()

    header = bytearray(sound)
    header[16:24] = (40000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    for raw, words in (
        (saved(np.zeros((99, 100), np.uint8)), "100×99"),
        (saved(np.zeros((100, 100, 3), np.uint8)), "grey"),
        (saved(np.zeros((100, 100), np.uint16)), "8 bits"),
        (saved(np.full((100, 100), 17, np.uint8)), "classes are"),
        (bytes(header), "40000"),
        (b"\xff\xd8\xff" + sound, "no PNG"),
        (b"", "no PNG"),
    ):
        file.write_bytes(raw)
        with pytest.raises(SessionError, match=words):
            session.semantic(0, "front")
    for name in ("cam_front", "CAM_NOWHERE", "../poses", ""):
        with pytest.raises(SessionError, match="cameras are in upper case"):
            session.depth(0, name)


def test_a_session_without_them_has_none(good_session):
    session = Session.open(good_session)
    assert session.meta.kept == () and "kept" not in session.document
    assert session.depth(0, "CAM_FRONT") is None and session.instance(0, "front") is None
    assert not (good_session / "depth").exists()


def test_an_image_that_was_never_written_is_refused(good_session):
    (good_session / "depth").mkdir()
    (good_session / "depth/000001_front.png").write_bytes(encode("depth", np.ones((100, 100), np.float32)))
    with pytest.raises(SessionError, match="not among the files"):
        Session.open(good_session).depth(1, "front")
    assert any("not among the files" in e for e in validate(good_session).errors)


def test_only_what_is_kept_may_be_written(tmp_path, synthetic, recorded):
    with SessionWriter(tmp_path, synthetic.meta(kept=("depth",)), {}, {}, sync=False) as writer:
        good = encode("depth", np.ones((36, 64), np.float32))
        for key, data in (
            (("semantic", "CAM_FRONT"), encode("semantic", np.zeros((36, 64), np.uint8))),
            (("depth", "CAM_NOWHERE"), good),
            (("depth", "cam_front"), good),
            (("depth", "front"), good),
            (("depth", "CAM_FRONT"), encode("instance", np.zeros((36, 60), np.uint16))),
            (("depth", "CAM_FRONT"), encode("semantic", np.zeros((36, 64), np.uint8))),
            (("depth", "CAM_FRONT"), b"\xff\xd8\xff"),
        ):
            with pytest.raises(SessionError):
                writer.write_frame(0, *recorded[0], extra={key: data})
        assert not any(p.is_file() for p in (writer.path / "depth").iterdir())
        writer.write_frame(0, *recorded[0], extra={("depth", "CAM_FRONT"): good})
    session = Session.open(writer.path)
    assert session.depth(0, "CAM_FRONT") is not None and session.depth(0, "CAM_BACK") is None
    assert any("7 depth images are missing" in e for e in validate(writer.path).errors)


@pytest.mark.parametrize("value", [["instance", "depth"], ["depth", "depth"], ["colour"], "depth", 3, [["depth"]]])
def test_a_session_that_keeps_something_else_is_refused(synthetic, value):
    with pytest.raises(SessionError):
        SessionMeta.from_dict({**synthetic.meta().to_dict(), "kept": value})


def test_contradictions_between_the_images_are_reported(tmp_path, synthetic, recorded):
    with SessionWriter(tmp_path, synthetic.meta(kept=EXTRA), {}, {}, sync=False) as writer:
        extra = encoded(synthetic.RIG, 0)
        extra["instance", "front"] = encode("instance", np.full((100, 100), 3, np.uint16))
        writer.write_frame(0, *recorded[0], extra=extra)
        sky = {key: encode(key[0], np.zeros_like(image) if key[0] != "depth" else np.full_like(image, np.inf))
               for key, image in images(synthetic.RIG, 1).items()}  # fmt: skip
        writer.write_frame(1, *recorded[1], extra=sky)
    (error,) = [e for e in validate(writer.path).errors if "instance" in e]
    assert "frame 0: front" in error and "an instance where depth shows no surface" in error


def test_nothing_but_sky_is_told_and_legal(tmp_path, synthetic, recorded):
    with SessionWriter(tmp_path, synthetic.meta(kept=("depth",)), {}, {}, sync=False) as writer:
        for index in range(2):
            sky = {("depth", name): encode("depth", np.full(size, np.inf, np.float32))
                   for name, size in image_sizes(synthetic.RIG).items()}  # fmt: skip
            writer.write_frame(index, *recorded[index], extra=sky)
    report = validate(writer.path)
    assert "no depth image shows a surface: nothing but sky was seen" in report.warnings
    assert not [e for e in report.errors if "depth" in e]


def test_a_torn_last_frame_is_written_again(tmp_path, synthetic, recorded, kept):
    reference = synthetic.contents(kept)
    (kept / "depth/000003_up.png").write_bytes(b"\x89PNG")
    (kept / "semantic/.000003_up.png.1.2.tmp").write_bytes(b"half")
    with SessionWriter.resume(kept, sync=False) as writer:
        assert writer.discarded == [3] and not list((kept / "instance").glob("000003*"))
        writer.write_frame(3, *recorded[3], extra=encoded(synthetic.RIG, 3))
    assert synthetic.contents(kept) == reference
