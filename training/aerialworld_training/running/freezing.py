"""Which parameters train in an epoch: the stage's, less what the config freezes."""

from __future__ import annotations

from torch import nn

from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.models.occworld.model import ENCODING
from aerialworld_training.models.occworld.state_dict_adapter import inside
from aerialworld_training.runconfig import RunConfig

#: What turns codes into voxels. It trains in stage occworld only where a loss on decoded voxels reaches it.
DECODING = ("vae.decoder", "vae.vqvae.post_quant_conv")


def trains(config: RunConfig, name: str, epoch: int) -> bool:
    """Whether the parameter `name` trains in `epoch` (counted from 1)."""
    freeze = config.freeze
    if config.stage != "occworld":
        if inside(name, "vae"):
            return not freeze.vae or (inside(name, "vae.decoder") and past(freeze.decoder_until, epoch))
        return inside(name, "aerial.heights") or inside(name, "aerial.residual.codebooks")
    # What codes depend on stays as it is while codes are read that were computed once.
    if any(inside(name, part) for part in ENCODING):
        return False
    if any(inside(name, part) for part in DECODING):
        return config.loss.voxels > 0 and (not freeze.vae or past(freeze.decoder_until, epoch))
    if inside(name, "transformer"):
        return not freeze.transformer or past(freeze.transformer_until, epoch)
    if inside(name, "pose_encoder") or inside(name, "pose_decoder"):
        return not freeze.pose
    if inside(name, "aerial.motion") or inside(name, "aerial.residual.heads"):
        return True
    # The plain reconstruction's head has no part in a forecast that starts from the moved past.
    return config.loss.voxels > 0 and (inside(name, "aerial.correction") or inside(name, "aerial.warp"))


def past(until: int | None, epoch: int) -> bool:
    return until is not None and epoch > until


def apply(model: OccWorld, config: RunConfig, epoch: int) -> int:
    """Set `requires_grad` for `epoch`; returns the number of parameters (elements) that train."""
    count = 0
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains(config, name, epoch))
        count += parameter.numel() if parameter.requires_grad else 0
    return count


def apply_ever(model: OccWorld, config: RunConfig) -> None:
    """Set `requires_grad` for what trains in any epoch: the optimizer's parameters."""
    epochs = {1, *(u + 1 for u in (config.freeze.transformer_until, config.freeze.decoder_until) if u is not None)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(trains(config, name, e) for e in epochs if e <= config.epochs))


def parameters_that_train(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def notes(config: RunConfig) -> list[str]:
    """What the freezing asked for cannot do in this stage, in words."""
    told = []
    if config.stage == "occworld" and not config.freeze.vae:
        told.append(
            "freeze.vae false: in stage occworld codes are computed once, so the encoder, its embeddings and the "
            "codebook stay as they are; train them in stage vqvae or adapt"
        )
    decoder = not config.freeze.vae or config.freeze.decoder_until is not None
    if config.stage == "occworld" and decoder and config.loss.voxels == 0:
        told.append("the VAE's decoder does not train: without loss.voxels nothing is decoded in stage occworld")
    return told
