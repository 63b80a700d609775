"""What the moved past cannot know: a correction of its logits, from the forecast codes and the moved past itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerialworld_training.models.aerial.config import AerialConfig
from aerialworld_training.models.occworld import OccWorldConfig
from aerialworld_training.models.occworld.vae import conv3, group_norm

#: seconds ahead, metres right and forward, sine and cosine − 1 of the turn, height above the datum, z shift
CONTEXT = 7
_SCALE = (0.5, 0.1, 0.1, 1.0, 1.0, 0.02, 0.1)


class CorrectionHead(nn.Module):
    """The last convolution begins at zero: no correction."""

    scale: Tensor

    def __init__(self, config: OccWorldConfig, aerial: AerialConfig) -> None:
        super().__init__()
        channels, width = config.grid_shape[2] * config.expansion, aerial.correction_width
        self.levels, self.width = aerial.grid.shape[2], config.expansion
        # Decoded codes and moved past differ in magnitude by far: each has norms of its own.
        self.norm_codes, self.norm_past, self.norm_filled = (group_norm(channels) for _ in range(3))
        self.conv_in, self.conv_mid = conv3(3 * channels, width), conv3(width, width)
        self.context = nn.Linear(CONTEXT, width)
        self.conv_out = nn.Conv2d(width, self.levels * self.width, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]
        self.register_buffer("scale", torch.tensor(_SCALE), persistent=False)

    def forward(self, image: Tensor, past: Tensor, filled: Tensor, context: Tensor) -> Tensor:
        """image (N, C, X, Y) the VAE decoder's output for the forecast codes; past and filled (N, C, X, Y) the moved
        past without and with hints as the height adapter encodes them; context (N, 7) → features
        (N, X, Y, levels, e), for `class_embeds` to classify."""
        # The gradient of a group norm's weights alone crashes torch 2.13 on the CPU where channels lie last.
        past, filled = past.contiguous(), filled.contiguous()
        x = self.conv_in(torch.cat([self.norm_codes(image), self.norm_past(past), self.norm_filled(filled)], 1))
        x = F.silu(x + self.context(context * self.scale)[..., None, None])
        x = self.conv_out(F.silu(self.conv_mid(x)))
        return x.unflatten(1, (self.levels, self.width)).permute(0, 3, 4, 1, 2)
