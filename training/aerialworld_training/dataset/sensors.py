"""Images and LiDAR of a frame as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from aerialworld_core.errors import InputError
from aerialworld_core.session import Session

#: RGB statistics of ImageNet that image backbones expect (torchvision's documentation of its pre-trained models).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_PIXELS = 64_000_000


def images(
    session: Session, frame: int, size: Sequence[int], normalize: bool, *, verify: bool = False
) -> tuple[dict[str, torch.Tensor], dict[str, bool]]:
    """Camera → float32 (3, height, width) RGB in 0 … 1, normalised if asked; and camera → whether the frame has it.

    A camera without an image is NaN throughout, so that a loss that forgets the second mapping cannot learn from it.
    Raises InputError for a file that is no JPEG and without simplejpeg.
    """
    shown, valid = {}, {}
    for camera in session.cameras:
        raw = session.image_bytes(frame, camera, verify=verify)
        valid[camera] = raw is not None
        if raw is None:
            shown[camera] = torch.full((3, *size), torch.nan)
            continue
        picture = _resized(_decode(raw, f"{session.path}: frame {frame:06d}: {camera}"), size)
        if normalize:
            picture = (picture - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
        shown[camera] = picture
    return shown, valid


def lidar(session: Session, frame: int, max_points: int, *, verify: bool = False) -> torch.Tensor | None:
    """float32 (N, 4) x, y, z, intensity in the LiDAR's frame, thinned evenly to `max_points`; None without a sweep."""
    points = session.lidar(frame, verify=verify)
    if points is None:
        return None
    if len(points) > max_points:
        points = points[np.linspace(0, len(points) - 1, max_points).round().astype(np.int64)]
    return torch.from_numpy(np.array(points, np.float32))


def _decode(raw: bytes, what: str) -> torch.Tensor:
    try:
        import simplejpeg
    except ImportError:
        raise InputError("load_images needs simplejpeg: pip install 'aerialworld_training[images]'") from None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(raw)
        if height * width > MAX_PIXELS:
            raise InputError(f"{what}: {width}×{height} pixels; {MAX_PIXELS:,} are read")
        return torch.from_numpy(simplejpeg.decode_jpeg(raw, "RGB")).permute(2, 0, 1).to(torch.float32) / 255
    except ValueError as error:
        raise InputError(f"{what}: no readable JPEG: {error}") from error


def _resized(picture: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if picture.shape[1:] == torch.Size(size):
        return picture
    resized = torch.nn.functional.interpolate(
        picture[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0]
