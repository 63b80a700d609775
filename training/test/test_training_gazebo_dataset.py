"""The guides' data set: samples equal the files, splits keep sessions whole, damage names itself and is bounded."""

from __future__ import annotations

import importlib.util
import json
import logging
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from aerialworld_core.errors import InputError
from aerialworld_core.labels import CAR
from aerialworld_core.session import Session
from aerialworld_core.session.pack import FOLDER, write_pack
from aerialworld_training.dataset.concat import ConcatDataset
from aerialworld_training.dataset.frame_bits import FrameBits, Kept
from aerialworld_training.dataset.gazebo_occworld_dataset import (
    VOXELS,
    DatasetConfig,
    GazeboOccWorldDataset,
    collate_fn,
    start_worker,
)
from aerialworld_training.dataset.packed import unpack_bits, unpack_classes, unpack_sample
from aerialworld_training.dataset.pooling import pool_occupancy
from aerialworld_training.dataset.splits import split_by_ratio

SYNTHETIC = Path(__file__).parents[2] / "src" / "aerialworld_core" / "test" / "session" / "synthetic.py"
spec = importlib.util.spec_from_file_location("training_dataset_synthetic", SYNTHETIC)
synthetic: ModuleType = importlib.util.module_from_spec(spec)
sys.modules["training_dataset_synthetic"] = synthetic
spec.loader.exec_module(synthetic)
GRID = synthetic.GRID


def config(**changes: Any) -> DatasetConfig:
    values = dict(
        history_frames=2, future_frames=3, val_ratio=0.0, test_ratio=0.0, image_size=(36, 64),
        point_cloud_range=GRID.range, voxel_size=GRID.voxel_size,
    )  # fmt: skip
    return DatasetConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One session of seven frames."""
    root = tmp_path_factory.mktemp("dataset")
    synthetic.write(root, synthetic.frames(7))
    return root


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(root, tmp_path / "data")
    return tmp_path / "data"


def only_session(root: Path) -> Session:
    return Session.open(next(p for p in root.iterdir() if p.name.startswith("drone")))


def test_a_sample_holds_what_the_files_hold(root: Path) -> None:
    data = GazeboOccWorldDataset(root, config(normalize_images=False))
    session = only_session(root)
    assert len(data) == 3 and [w.frames[0] for w in data.frame_index] == [0, 1, 2]
    sample = data[1]
    assert sample["frames"] == [1, 2, 3, 4, 5] and sample["session"] == session.path.name
    assert sample["agent_type"] == 1 and sample["domain_tag"] == "embedded"
    for part, first, count in (("history", 1, 2), ("future", 3, 3)):
        voxels, poses = sample[f"{part}_occupancy"], sample[f"{part}_poses"]
        assert voxels.dtype == poses.dtype == torch.float32
        for k in range(count):
            np.testing.assert_array_equal(voxels[k].numpy(), session.occupancy(first + k).occupancy)
            np.testing.assert_allclose(poses[k].numpy(), session.pose_13d(first + k), rtol=1e-6)
    np.testing.assert_array_equal(sample["history_lidar"][1].numpy(), session.lidar(2))
    from PIL import Image

    picture = np.asarray(Image.open(session.image_path(2, "CAM_BACK"))).transpose(2, 0, 1) / 255
    assert np.abs(sample["history_images"][1]["CAM_BACK"].numpy() - picture).max() < 2.5 / 255  # two decoders
    normal = GazeboOccWorldDataset(root, config())[1]["history_images"][1]["CAM_BACK"].numpy()
    expected = (picture[0] - 0.485) / 0.229
    assert np.abs(normal[0] - expected).max() < 0.05


def test_every_form_says_the_same_with_and_without_a_pack(root: Path, copy: Path) -> None:
    session = only_session(root)
    frames = [session.occupancy(n) for n in range(1, 6)]
    off = {"load_images": False, "load_lidar": False}
    write_pack([copy / session.path.name], copy / FOLDER)
    for folder in (root, copy):
        dense = GazeboOccWorldDataset(folder, config(form="uint8", voxels=VOXELS, **off))[1]
        packed = GazeboOccWorldDataset(folder, config(form="packed", **off))[1]
        alone = GazeboOccWorldDataset(folder, config(form="uint8", **off))[1]
        assert "history_semantics" not in alone and "future_observed" not in alone
        assert torch.equal(alone["future_occupancy"], dense["future_occupancy"])
        assert torch.equal(
            GazeboOccWorldDataset(folder, config(**off))[1]["future_occupancy"], dense["future_occupancy"].float()
        )
        bits = {k: torch.cat([packed[f"history_{k}"], packed[f"future_{k}"]]) for k in ("occupied", "observed")}
        occupancy, observed = (unpack_bits(bits[k], GRID.shape) for k in ("occupied", "observed"))
        semantics = unpack_classes(occupancy, packed["classes"])
        assert packed["classes_counts"].tolist() == [int(f.occupancy.sum()) for f in frames]
        for k, frame in enumerate(frames):
            part, n = ("history", k) if k < 2 else ("future", k - 2)
            for got, want in (
                ("occupancy", frame.occupancy), ("semantics", frame.semantics), ("observed", frame.observed)
            ):  # fmt: skip
                np.testing.assert_array_equal(dense[f"{part}_{got}"][n].numpy(), want)
            np.testing.assert_array_equal(occupancy[k].numpy(), frame.occupancy)
            np.testing.assert_array_equal(observed[k].numpy(), frame.observed)
            np.testing.assert_array_equal(semantics[k].numpy(), frame.semantics)
    with pytest.raises(InputError, match="bytes of bits"):
        unpack_bits(bits["occupied"], (40, 40, 17))
    with pytest.raises(InputError, match="classes for"):
        unpack_classes(occupancy, packed["classes"][1:])


def test_coarser_voxels_are_pooled_and_other_grids_refused(root: Path) -> None:
    coarse = GazeboOccWorldDataset(
        root, config(voxel_size=(1.6, 1.6, 2.0), form="uint8", voxels=VOXELS, load_images=False)
    )[0]
    pooled = pool_occupancy(only_session(root).occupancy(1), (2, 2, 2))
    np.testing.assert_array_equal(coarse["history_semantics"][1].numpy(), pooled.semantics)
    np.testing.assert_array_equal(coarse["history_observed"][1].numpy(), pooled.observed)
    for changes in ({"voxel_size": (1.0, 1.0, 1.0)}, {"point_cloud_range": (-8, -8, -2, 8, 8, 14)}):
        with pytest.raises(InputError, match="session occupancy"):
            GazeboOccWorldDataset(root, config(**changes))


def test_the_ground_is_moved_to_its_level_for_a_whole_window(root: Path) -> None:
    # The plane z = 0 lies 1 m above the datum: voxel 3 of the grid that begins at −2 m.
    plain = GazeboOccWorldDataset(root, config(form="uint8", voxels=VOXELS, load_images=False))[0]
    moved = GazeboOccWorldDataset(root, config(form="uint8", voxels=VOXELS, load_images=False, ground_level=1))[0]
    assert plain["z_shift"] == 0 and moved["z_shift"] == -2
    for part in ("history", "future"):
        for kind in ("occupancy", "semantics", "observed"):
            np.testing.assert_array_equal(
                moved[f"{part}_{kind}"][..., :-2].numpy(), plain[f"{part}_{kind}"][..., 2:].numpy()
            )
        assert not moved[f"{part}_observed"][..., -2:].any()


@pytest.mark.parametrize("changes", [{}, {"voxel_size": (1.6, 1.6, 2.0)}, {"voxel_size": (1.6, 1.6, 4.0)}])
@pytest.mark.parametrize("level", [None, 0, 1, 5])
@pytest.mark.parametrize("pack", [False, True])
def test_bits_are_unpacked_to_what_dense_samples_hold(
    root: Path, tmp_path: Path, changes: dict[str, Any], level: int | None, pack: bool
) -> None:
    if pack:
        root = Path(shutil.copytree(root, tmp_path / "sessions"))
        write_pack([only_session(root).path], root / FOLDER)
    given = {"load_images": False, "load_lidar": False, "ground_level": level, **changes}
    dense = GazeboOccWorldDataset(root, config(form="uint8", voxels=VOXELS, **given))
    packed = GazeboOccWorldDataset(root, config(form="packed", **given))
    for n in (0, 1, 0):
        one, other = dense[n], packed[n]
        assert one["z_shift"] == other["z_shift"]
        semantics, observed = unpack_sample(other, dense.grid.shape)
        for got, kind in ((semantics, "semantics"), (observed.to(torch.uint8), "observed")):
            assert torch.equal(got, torch.cat([one[f"history_{kind}"], one[f"future_{kind}"]]))


def test_kept_frames_are_bounded_and_the_oldest_go_first() -> None:
    made: list[int] = []

    def make(n: int) -> FrameBits:
        made.append(n)
        return FrameBits(np.full(4, n, np.uint8), np.zeros(4, np.uint8), np.zeros(2, np.uint8))

    kept = Kept(30)  # three frames of 10 bytes
    for n in (1, 2, 3, 1, 4, 1, 2):
        assert kept.get(n, lambda n=n: make(n)).occupied[0] == n  # type: ignore[misc]
    assert made == [1, 2, 3, 4, 2] and kept.size == 30  # 4 pushed out 2, which had not been asked for since


def test_only_what_is_asked_for_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = Session._optional

    def spy(self: Session, index: int, name: str, *rest: Any) -> Any:
        read.append(name.split("/")[0])
        return plain(self, index, name, *rest)

    data = GazeboOccWorldDataset(root, config(load_images=False, load_lidar=False))
    monkeypatch.setattr(Session, "_optional", spy)
    assert not {"history_images", "history_lidar"} & set(data[0])
    assert set(read) == {"poses", "occupancy"}


def test_missing_images_are_said_and_never_black(copy: Path) -> None:
    session = only_session(copy)
    session.image_path(1, "CAM_BACK").unlink()
    sample = GazeboOccWorldDataset(copy, config())[0]
    assert [v["CAM_BACK"] for v in sample["history_images_valid"]] == [True, False]
    assert torch.isnan(sample["history_images"][1]["CAM_BACK"]).all()
    assert torch.isfinite(sample["history_images"][1]["CAM_FRONT"]).all()


def test_a_damaged_file_names_itself_and_is_passed_over_up_to_a_bound(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = only_session(copy)
    file = session.path / "occupancy" / "000006_occupancy.npz"
    file.write_bytes(file.read_bytes()[:-40])
    data = GazeboOccWorldDataset(copy, config(load_images=False))
    with caplog.at_level(logging.WARNING):
        sample = data[2]  # frames 2 … 6; the next sound one is the first
    assert sample["frames"] == [0, 1, 2, 3, 4] and data.skipped == 1
    assert "000006_occupancy.npz" in caplog.text
    caplog.clear()
    assert data[2]["frames"] == [0, 1, 2, 3, 4] and not caplog.text  # known by now
    with pytest.raises(InputError, match=r"over 0 damaged windows.*000006_occupancy"):
        GazeboOccWorldDataset(copy, config(load_images=False, max_skipped=0))[2]
    for n in range(7):
        file = session.path / "occupancy" / f"{n:06d}_occupancy.npz"
        file.write_bytes(b"no zip")
    with pytest.raises(InputError, match="every window is damaged"):
        GazeboOccWorldDataset(copy, config(load_images=False))[0]


def test_standing_windows_are_left_out_unless_something_moves_before_them(tmp_path: Path) -> None:
    made = synthetic.frames(1) * 6  # the same place six times
    still = [(synthetic.sensor_frame(synthetic.City(), 0), made[0][1], made[0][2]) for _ in range(6)]
    import dataclasses

    frames = []
    for n, (frame, occupancy, images) in enumerate(still):
        state = dataclasses.replace(frame.state, stamp_ns=n * synthetic.PERIOD_NS)
        frames.append((dataclasses.replace(frame, state=state, imu=frame.imu[:0]), occupancy, images))
    synthetic.write(tmp_path, frames)
    with pytest.raises(InputError, match="no window"):
        GazeboOccWorldDataset(tmp_path, config())
    with pytest.raises(InputError, match="none of 2 windows does the vehicle move"):
        GazeboOccWorldDataset(tmp_path, config(filter_static=False))
    assert len(GazeboOccWorldDataset(tmp_path, config(filter_static=False, validate_motion=False))) == 2

    passing = tmp_path / "passing"
    for n, (_, occupancy, _) in enumerate(frames):
        car = occupancy.occupancy.copy(), occupancy.semantics.copy(), occupancy.observed.copy()
        car[0][4 + 2 * n : 8 + 2 * n, 3:6, 6], car[1][4 + 2 * n : 8 + 2 * n, 3:6, 6] = 1, CAR
        car[2][4 + 2 * n : 8 + 2 * n, 3:6, 6] = True
        frames[n] = (frames[n][0], type(occupancy)(*car), frames[n][2])
    synthetic.write(passing, frames)
    assert len(GazeboOccWorldDataset(passing, config(validate_motion=False))) == 2


def test_splits_keep_sessions_whole_and_never_round_to_none(tmp_path: Path) -> None:
    names = [f"drone_20240115_12{n:02d}00" for n in range(20)]
    parts = split_by_ratio(names, 0.1, 0.1)
    assert sorted(parts["train"] + parts["val"] + parts["test"]) == names
    assert len(parts["val"]) == len(parts["test"]) == 2
    assert split_by_ratio(names[::-1], 0.1, 0.1) == parts  # whatever the order
    small = split_by_ratio(names[:3], 0.1, 0.1)
    assert [len(small[p]) for p in ("train", "val", "test")] == [1, 1, 1]
    with pytest.raises(InputError, match="2 sessions cannot be split"):
        split_by_ratio(names[:2], 0.1, 0.1)
    with pytest.raises(InputError, match="together below 1"):
        split_by_ratio(names, 0.5, 0.5)


def test_a_split_file_beside_the_sessions_rules(tmp_path: Path) -> None:
    made = synthetic.frames(5)
    folders = [synthetic.write(tmp_path, made).name for _ in range(3)]
    rover = synthetic.write(tmp_path, made, agent_type="rover", vehicle="rover_1").name
    parts = {"train": [folders[2], rover], "val": [folders[0]], "test": [folders[1]]}
    (tmp_path / "split.json").write_text(json.dumps(parts))
    wanted = config(load_images=False)
    for part, names in parts.items():
        wanted.split = part
        assert [w.session for w in GazeboOccWorldDataset(tmp_path, wanted).frame_index] == names
    rovers = GazeboOccWorldDataset(tmp_path, config(agent_type="rover"))
    assert rovers.sessions == [rover] and rovers[0]["agent_type"] == 0
    with pytest.raises(InputError, match="val has no session of agent_type 'rover'"):
        GazeboOccWorldDataset(tmp_path, config(agent_type="rover", split="val"))
    (tmp_path / "split.json").write_text(json.dumps(parts | {"test": ["drone_20990101_000000"]}))
    with pytest.raises(InputError, match="names drone_20990101_000000"):
        GazeboOccWorldDataset(tmp_path, config(split="test"))


def test_older_data_takes_grid_and_frame_rate_from_config_and_stamps(tmp_path: Path) -> None:
    path = tmp_path / "rover_20230401_093000"
    for folder in ("occupancy", "poses"):
        (path / folder).mkdir(parents=True)
    for n in range(1, 8):  # ten frames per second, a car-like class in a small grid
        values = np.zeros((8, 8, 4), np.uint8)
        values[n % 8, :, 1] = 11
        np.savez_compressed(path / f"occupancy/{n:06d}_occupancy.npz", occupancy=values)
        pose = {"pose_13d": [0.5 * n, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0], "timestamp": n * 0.1}
        (path / f"poses/{n:06d}.json").write_text(json.dumps(pose))
    wanted = config(point_cloud_range=(-4, -4, -2, 4, 4, 2), voxel_size=(1, 1, 1), load_images=False)
    data = GazeboOccWorldDataset(tmp_path, wanted)
    assert len(data) == 3 and data[0]["frames"] == [1, 2, 3, 4, 5]
    assert data[0]["history_occupancy"][1].nonzero()[:, 0].unique().tolist() == [2]
    assert data[0]["history_lidar"] == [None, None]
    wanted.frame_skip = 2
    with pytest.raises(InputError, match="no window"):
        GazeboOccWorldDataset(tmp_path, wanted)


def test_workers_batches_and_the_transform(root: Path) -> None:
    def double(sample: dict[str, Any]) -> dict[str, Any]:
        return sample | {"history_poses": 2 * sample["history_poses"]}

    data = GazeboOccWorldDataset(root, config(), transform=double)
    again = pickle.loads(pickle.dumps(GazeboOccWorldDataset(root, config())))  # noqa: S301 our own bytes
    loader = DataLoader(
        data,
        batch_size=3,
        num_workers=1,
        collate_fn=collate_fn,
        multiprocessing_context="fork",
        worker_init_fn=start_worker,
    )
    (batch,) = list(loader)
    for n in range(3):
        plain = again[n]
        torch.testing.assert_close(batch["history_poses"][n], 2 * plain["history_poses"])
        torch.testing.assert_close(batch["future_occupancy"][n], plain["future_occupancy"])
        torch.testing.assert_close(batch["history_images"][1]["CAM_FRONT"][n], plain["history_images"][1]["CAM_FRONT"])
        torch.testing.assert_close(batch["history_lidar"][n][0], plain["history_lidar"][0])
    assert batch["agent_type"].tolist() == [1, 1, 1] and batch["frames"][2] == [2, 3, 4, 5, 6]


def test_weights_decide_how_often_a_data_set_is_drawn() -> None:
    sets = [list(range(10)), list(range(100, 1100))]
    both = ConcatDataset(sets, [3.0, 1.0])
    drawn = list(both.sampler(8000, torch.Generator().manual_seed(1)))
    share = sum(i < 10 for i in drawn) / 8000
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 8000)
    assert len({i for i in drawn if i < 10}) == 10
    with pytest.raises(InputError, match="as many weights"):
        ConcatDataset(sets, [1.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent_type": "plane"}, "agent_type is both, drone or rover"),
        ({"split": "dev"}, "split is train"),
        ({"form": "dense"}, "form is float32"),
        ({"voxels": ("classes",)}, "voxels are of occupancy"),
        ({"frame_skip": 0}, "1 or more"),
        ({"max_points": 0}, "max_points"),
        ({"min_occ_change": -1.0}, "min_occ_change"),
    ],
)
def test_wrong_settings_are_named(root: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GazeboOccWorldDataset(root, config(**changes))


def test_empty_and_absent_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        GazeboOccWorldDataset(tmp_path / "none", config())
    with pytest.raises(InputError, match="no session folders"):
        GazeboOccWorldDataset(tmp_path, config())
