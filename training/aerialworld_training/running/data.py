"""A config's sessions as samples that know where they were drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aerialworld_core.errors import InputError
from aerialworld_core.files import canonical_json
from aerialworld_core.labels import FREE, MANMADE
from aerialworld_training.dataset import transforms
from aerialworld_training.dataset.concat import ConcatDataset
from aerialworld_training.dataset.gazebo_occworld_dataset import DatasetConfig, GazeboOccWorldDataset, start_worker
from aerialworld_training.dataset.motion import TOLERANCE
from aerialworld_training.dataset.packed import unpack_sample
from aerialworld_training.runconfig.schema import AugmentConfig, RunConfig
from aerialworld_training.running.order import Draw, EpochOrder, mixed
from aerialworld_training.runtime import TrainingError

Sample = dict[str, Any]


def windows(config: RunConfig, split: str) -> list[GazeboOccWorldDataset]:
    """The windows of each root, packed; of the training part where no share is set aside for `split`. Raises
    InputError."""
    data = config.data
    part = split if is_set_aside(config) else "train"
    settings = DatasetConfig(
        history_frames=data.history_frames, future_frames=data.future_frames, frame_skip=data.frame_skip,
        agent_type=data.agent_type, split=part, val_ratio=data.val_ratio, test_ratio=data.test_ratio,
        point_cloud_range=data.grid.range, voxel_size=data.grid.voxel_size, load_images=False, load_lidar=False,
        validate_motion=data.validate_motion, min_pose_delta=data.min_pose_delta, min_occ_change=data.min_occ_change,
        filter_static=data.filter_static, exclude_dummy_sessions=data.exclude_dummy_sessions, form="packed",
        split_file=data.split_file, ground_level=data.ground_level,
    )  # fmt: skip
    found = [GazeboOccWorldDataset(root, settings) for root in (data.root, *data.concat)]
    for dataset in found:
        if abs(dataset.step_ns * 1e-9 - data.step) > TOLERANCE * data.step:
            raise InputError(
                f"{dataset.root}: with data.frame_skip {data.frame_skip} frames lie {dataset.step_ns * 1e-9:g} s "
                f"apart, data.step says {data.step:g} s; change one of the two"
            )
    return found


def content(datasets: list[GazeboOccWorldDataset]) -> str:
    """A hash of what the sessions of data sets hold, wherever they lie."""
    held = [[name, d.content(name)] for d in datasets for name in d.sessions]
    return hashlib.sha256(canonical_json(held)).hexdigest()


def is_set_aside(config: RunConfig) -> bool:
    """Whether there are validation sessions; with val_ratio 0 and no split file the training sessions are scored."""
    data = config.data
    return data.val_ratio > 0 or data.split_file is not None or (Path(data.root) / "split.json").is_file()


def joined(config: RunConfig, datasets: list[Any]) -> tuple[ConcatDataset, Tensor | None]:
    """The data sets as one, and each sample's chance where the config weighs them."""
    weights = config.data.sample_weights or None
    together = ConcatDataset(datasets, weights)
    return together, together.sample_weights if weights else None


class Drawn(Dataset[tuple[Draw, Any]]):
    """Samples by draw, with the draw."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> tuple[Draw, Any]:
        return draw, self.dataset[draw.sample]


def micro_batches(
    dataset: Dataset[Any], order: EpochOrder, epoch: int, first: int, rank: int, workers: int
) -> Iterator[list[Any]]:
    """Lists of (draw, sample), `order.accumulate` of them per iteration. Raises TrainingError when a worker dies."""
    batches = list(order.batches(epoch, first, rank))
    loader = DataLoader(
        dataset, batch_sampler=batches, num_workers=workers, collate_fn=list,
        worker_init_fn=start_worker, generator=torch.Generator().manual_seed(mixed(order.seed, epoch)),
        persistent_workers=False,
    )  # fmt: skip
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(f"{error} Lower data.workers if memory is short, then go on with --resume") from error


def unpacked(config: RunConfig, sample: Sample, device: torch.device) -> Sample:
    """A packed sample as a dense one of its whole window on `device`: history_semantics and history_observed
    (F, X, Y, Z) uint8, as transforms take it. Everything occupied is of one class if data.binary."""
    semantics, observed = unpack_sample(sample, config.data.grid.shape, device)
    if config.data.binary:
        semantics = torch.where(semantics != FREE, MANMADE, FREE).to(torch.uint8)
    return {
        "history_semantics": semantics, "history_observed": observed.to(torch.uint8),
        "history_poses": torch.cat([sample["history_poses"], sample["future_poses"]]),
        "future_poses": sample["future_poses"][:0],
    }  # fmt: skip


def some_frames(sample: Sample, frames: list[int]) -> Sample:
    """A packed sample of some of its window's frames alone, all as history."""
    out = dict(sample)
    for kind in ("occupied", "observed", "poses"):
        whole = torch.cat([sample[f"history_{kind}"], sample[f"future_{kind}"]])
        out[f"history_{kind}"], out[f"future_{kind}"] = whole[frames], whole[:0]
    of_frame = torch.split(sample["classes"], sample["classes_counts"].tolist())
    out["classes"], out["classes_counts"] = torch.cat([of_frame[n] for n in frames]), sample["classes_counts"][frames]
    return out


def turned(augment: AugmentConfig, sample: Sample, generator: torch.Generator) -> Sample:
    """A dense sample mirrored and turned as the config asks; grid and poses together."""
    if augment.flip_probability > 0:
        sample = transforms.Flip(augment.flip_probability, generator)(sample)
    if augment.rotate_deg > 0 and float(torch.rand((), generator=generator)) < augment.rotate_probability:
        sample = transforms.Rotate(augment.rotate_deg, generator)(sample)
    return sample


def noisy(augment: AugmentConfig, sample: Sample, generator: torch.Generator) -> Sample:
    """A dense sample as a worse sensor would have it: the encoder's input, never its target."""
    noise = (
        augment.occupancy_noise > 0 and float(torch.rand((), generator=generator)) < augment.occupancy_noise_probability
    )
    drop = (
        augment.occupancy_dropout > 0
        and float(torch.rand((), generator=generator)) < augment.occupancy_dropout_probability
    )
    if not (noise or drop):
        return sample
    device = sample["history_semantics"].device
    out = {k: v.cpu() if isinstance(v, Tensor) else v for k, v in sample.items()}
    out["history_occupancy"] = (out["history_semantics"] != FREE).to(torch.uint8)
    if noise:
        out = transforms.Noise(augment.occupancy_noise, generator)(out)
    if drop:
        out = transforms.Dropout(augment.occupancy_dropout, generator)(out)
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in out.items()}


def notes(config: RunConfig) -> list[str]:
    """What of the config this stage reads nothing of, in words."""
    augment, told = config.augment, []
    if augment.point_noise or augment.point_dropout:
        told.append("augment.point_*: without effect, for no stage reads points")
    if config.stage == "occworld":
        if augment.occupancy_noise or augment.occupancy_dropout:
            told.append("augment.occupancy_*: without effect in stage occworld, which reads codes made once")
        if (augment.flip_probability or augment.rotate_deg) and augment.copies == 1:
            told.append(
                "augment.flip_* and rotate_*: without effect in stage occworld while augment.copies is 1; "
                "2 or more makes codes of turned and mirrored copies too"
            )
    if not is_set_aside(config):
        told.append("no validation sessions (data.val_ratio 0): scores are of training data")
    if config.data.load_images or config.data.load_lidar:
        told.append("data.load_images and load_lidar: without effect, for images and points are no inputs")
    return told


def described(sample: Sample) -> str:
    """A sample's session and frames, for messages."""
    frames = sample["frames"]
    last = f"–{frames[-1]:06d}" if len(frames) > 1 else ""
    return f"{sample['session']} frame{'s' if last else ''} {frames[0]:06d}{last}"
