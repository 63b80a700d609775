"""The original's nested `model` dictionary: what each part may hold, and what of it is supported.

The original builds from it by keyword, so that what is omitted has a default; `OccWorldConfig.from_original` makes the
flat table of sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aerialworld_core.errors import InputError

#: What each part of the original's dictionary may hold and what it has where it is omitted; `...`: it must be there.
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "": {
        "num_frames": 10, "offset": 1, "vae": ..., "transformer": ..., "pose_encoder": ..., "pose_decoder": ...,
        "pose_actor": None, "give_hiddens": False, "delta_input": False, "without_all": False,
    },
    "vae": {
        "encoder_cfg": ..., "decoder_cfg": ..., "vqvae_cfg": ..., "num_classes": 18, "expansion": 8, "init_cfg": None,
    },
    "encoder_cfg": {
        "ch": ..., "ch_mult": (1, 2, 4, 8), "num_res_blocks": ..., "attn_resolutions": ..., "dropout": 0.0,
        "resamp_with_conv": True, "in_channels": ..., "resolution": ..., "z_channels": ..., "double_z": True,
    },
    "decoder_cfg": {
        "ch": ..., "out_ch": ..., "ch_mult": (1, 2, 4, 8), "num_res_blocks": ..., "attn_resolutions": ...,
        "dropout": 0.0, "resamp_with_conv": True, "resolution": ..., "z_channels": ..., "give_pre_end": False,
    },
    "vqvae_cfg": {
        "n_e": ..., "e_dim": ..., "beta": ..., "z_channels": ..., "remap": None, "unknown_index": "random",
        "sane_index_shape": False, "legacy": True, "use_voxel": True,
    },
    "transformer": {
        "num_tokens": ..., "num_frames": ..., "num_layers": None, "img_shape": ..., "pose_shape": None, "tpe_dim": 10,
        "output_channel": 1024, "channels": (1, 2, 3), "ffn_dims": None, "temporal_attn_layers": 1,
        "pose_attn_layers": 1, "num_heads": 8, "pose_output_channel": None, "conditional": True,
        "tokens_untouched": False, "add_aggregate": False, "learnable_queries": True, "without_multiscale": False,
        "without_spatial_attn": False, "without_pose_spatial_attn": False, "without_pose_temporal_attn": False,
        "without_temporal_attn": False,
    },
    "pose_encoder": {
        "in_channels": ..., "out_channels": ..., "num_layers": 2, "num_modes": 3, "num_fut_ts": 1, "init_cfg": None,
    },
    "pose_decoder": {"in_channels": ..., "num_layers": 2, "num_modes": 3, "num_fut_ts": 1, "init_cfg": None},
}  # fmt: skip
#: The original's coders accept any further key and ignore it.
OPEN = ("encoder_cfg", "decoder_cfg")
#: Options of which one value is supported.
ONLY: Mapping[str, Mapping[str, Any]] = {
    "": {"offset": 1, "pose_actor": None, "give_hiddens": False, "delta_input": False, "without_all": False},
    "vae": {"init_cfg": None},
    "encoder_cfg": {"dropout": 0.0, "resamp_with_conv": True, "double_z": False},
    "decoder_cfg": {"dropout": 0.0, "resamp_with_conv": True, "give_pre_end": False},
    "vqvae_cfg": {"remap": None, "legacy": True, "use_voxel": False},
    "transformer": {
        "num_tokens": 1, "conditional": True, "tokens_untouched": False, "add_aggregate": False,
        "learnable_queries": False, "without_multiscale": False, "without_spatial_attn": False,
        "without_pose_spatial_attn": False, "without_pose_temporal_attn": False, "without_temporal_attn": False,
    },
    "pose_encoder": {"num_fut_ts": 1, "init_cfg": None},
    "pose_decoder": {"num_fut_ts": 1, "init_cfg": None},
}  # fmt: skip
#: Sizes that the original repeats for the decoder.
SHARED = ("ch", "ch_mult", "num_res_blocks", "attn_resolutions", "resolution", "z_channels")


def part(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One part of the dictionary (`""`: its own keys) with the original's defaults. Raises InputError for a part or key
    that is missing, a key that the original does not know, and an option that is not supported."""
    given = config.get(name) if name else config
    if not isinstance(given, Mapping):
        raise InputError(f"OccWorld config: the table {name!r} is missing")
    inside, known = f" in {name!r}" if name else "", KNOWN[name]
    missing = [key for key, default in known.items() if default is ... and key not in given]
    if missing:
        raise InputError(f"OccWorld config: the key '{missing[0]}' is missing{inside}")
    extra = [key for key in given if key not in known and key != "type"]
    if extra and name not in OPEN:
        raise InputError(f"OccWorld config: unknown key {extra[0]!r}{inside}")
    values = {**known, **given}
    for key, only in ONLY[name].items():
        default = "" if key in given else ", the original's default"
        require(f"{name}.{key}".lstrip("."), values[key], only, default)
    return values


def require(key: str, given: Any, only: Any, note: str) -> None:
    """Raises InputError unless `given` is `only`; lists and tuples are alike."""
    plain = [tuple(v) if isinstance(v, (list, tuple)) else v for v in (given, only)]
    if plain[0] != plain[1]:
        raise InputError(f"OccWorld config: {key} = {given!r}{note}; only {only!r} is supported")
