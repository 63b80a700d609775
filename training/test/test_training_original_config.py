"""The original's `model` dictionary read into sizes, and the modules that follow from unusual ones."""

from __future__ import annotations

import copy
import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from aerialworld_core.errors import InputError
from aerialworld_training.models.occworld import OccWorld, OccWorldConfig

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("AERIALWORLD_SHARED", ROOT.parent / "shared"))
TABLE = SHARED / "reference" / "occworld" / "occworld_state_dict.csv"
TINY = json.loads((Path(__file__).parent / "occworld_tiny" / "model_config.json").read_text())


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The tiny set's dictionary with dotted keys set; `...` takes a key away."""
    config = copy.deepcopy(TINY)
    for path, value in changes:
        *parts, last = path.split(".")
        table = config
        for part in parts:
            table = table[part]
        if value is ...:
            del table[last]
        else:
            table[last] = value
    return config


def resized(size: int, latent: list[int], attention: list[int]) -> dict[str, Any]:
    coders = [(f"vae.{c}.{k}", v) for c in ("encoder_cfg", "decoder_cfg") for k, v in
              (("ch_mult", [1, 2, 1]), ("resolution", size), ("attn_resolutions", attention))]  # fmt: skip
    return changed(*coders, ("transformer.img_shape", [TINY["transformer"]["img_shape"][0], *latent]))


@pytest.mark.skipif(not TABLE.exists(), reason="shared/reference/occworld is absent")
def test_official_sizes_have_the_public_checkpoints_keys_in_its_order() -> None:
    with torch.device("meta"):
        state = OccWorld(OccWorldConfig()).state_dict()
    with open(TABLE) as handle:
        table = {row["key"]: row["shape"] for row in csv.DictReader(handle)}
    assert len(table) == 768
    assert [(k, "x".join(map(str, v.shape))) for k, v in state.items()] == list(table.items())
    assert sum(v.numel() for v in state.values()) == 72_385_578


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("delta_input", True), "delta_input = True"),
        (("offset", 2), "offset = 2"),
        (("num_frames", 9), "num_frames = 9"),
        (("pose_encoder", {}), "'in_channels' is missing in 'pose_encoder'"),
        (("pose_encoder", ...), "'pose_encoder' is missing"),
        (("pose_encoder.num_layers", 1), "pose_layers: at least 2"),
        (("pose_decoder.num_layers", 3), "pose_decoder.num_layers = 3"),
        (("pose_decoder.in_channels", 7), "pose_decoder.in_channels = 7"),
        (("pose_encoder.num_modes", 4), "pose_encoder.in_channels = 5"),
        (("transformer.learnable_queries", ...), "learnable_queries = True, the original's default"),
        (("transformer.without_temporal_attn", True), "without_temporal_attn = True"),
        (("transformer.tokens_untouched", True), "tokens_untouched"),
        (("transformer.depth", 4), "unknown key 'depth' in 'transformer'"),
        (("transformer.num_heads", 5), "num_heads = 5"),
        (("vae.vqvae_cfg.legacy", False), "legacy = False"),
        (("vae.vqvae_cfg.use_voxel", ...), "use_voxel = True, the original's default"),
        (("vae.encoder_cfg.double_z", ...), "double_z = True, the original's default"),
        (("vae.encoder_cfg.resamp_with_conv", False), "resamp_with_conv"),
        (("vae.decoder_cfg.give_pre_end", True), "give_pre_end"),
    ],
)  # fmt: skip
def test_unsupported_configs_are_refused(change: tuple[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OccWorldConfig.from_original(changed(change))


def test_what_the_dictionary_omits_has_the_originals_default() -> None:
    omitted = ["vae.num_classes", "vae.encoder_cfg.dropout", "pose_decoder.num_modes", "pose_encoder.num_layers"]
    assert OccWorldConfig.from_original(changed(*[(key, ...) for key in omitted])) == OccWorldConfig.from_original(TINY)
    one = changed(("transformer.temporal_attn_layers", ...), ("transformer.pose_attn_layers", ...))
    sizes = OccWorldConfig.from_original(one)
    assert (sizes.temporal_attn_layers, sizes.pose_attn_layers) == (1, 1)


def attends(model: OccWorld) -> tuple[list[bool], list[bool]]:
    vae = model.vae
    return tuple([len(level.attn) > 0 for level in part.levels] for part in (vae.encoder, vae.decoder))


def test_attention_at_odd_resolutions() -> None:
    """37 is halved to 18 and 9; the decoder doubles 9 to 18 and 36. 38: 38, 19, 9 and 9, 18, 36."""
    for size, attention, encoder, decoder in [
        (37, [37, 18], [True, True, False], [False, True, False]),
        (37, [36, 9], [False, False, True], [True, False, True]),
        (38, [19], [False, True, False], [False, False, False]),
        (40, [40, 10], [True, False, True], [True, False, True]),
    ]:
        latent = -(-size // 4)
        model = OccWorld(OccWorldConfig.from_original(resized(size, [latent, latent], attention)))
        assert attends(model) == (encoder, decoder)


def test_frames_need_not_be_square() -> None:
    """The dictionary holds the latent's size alone; attention goes by its `resolution`, not by the frames."""
    config = resized(40, [10, 6], [10])
    with pytest.raises(InputError, match="img_shape"):
        OccWorldConfig.from_original(config)
    sizes = OccWorldConfig.from_original(config, (37, 24))
    assert sizes.grid_shape[:2] == (37, 24) and sizes.latent_shape == (10, 6)
    model = OccWorld(sizes).eval()
    assert attends(model) == ([False, False, True], [False, False, True])
    frames = torch.full((1, *sizes.grid_shape), 17)
    z = model.vae.encode(frames)
    assert z.shape[2:] == (10, 6) and model.vae.decode_features(z).shape[:-1] == frames.shape


def test_pose_coders_of_three_layers() -> None:
    """Layers in between have the coder's width, with the keys of the original's nn.Sequential."""
    model = OccWorld(
        OccWorldConfig.from_original(changed(("pose_encoder.num_layers", 3), ("pose_decoder.num_layers", 3)))
    )
    width = TINY["pose_encoder"]["out_channels"]
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items() if k.startswith("pose_") and "weight" in k}
    assert shapes == {
        "pose_encoder.pose_encoder.0.weight": (width, 5),
        "pose_encoder.pose_encoder.2.weight": (width, width),
        "pose_encoder.pose_encoder.4.weight": (width, width),
        "pose_decoder.pose_decoder.0.weight": (width, width),
        "pose_decoder.pose_decoder.2.weight": (width, width),
        "pose_decoder.pose_decoder.4.weight": (6, width),
    }
