"""A trained model's parts as graphs that run without this package: encoder, transformer, decoder, each fixed in size.

    encoder      states (1, X, Y, Z) uint8 → codes (1, h, w) int64
    transformer  codes (1, F, h, w), rel_poses (1, F, 2), modes (1, F, 3) [, ego (1, F, 8)] → code logits
                 (1, F, n_e, h, w), displacements (1, F, modes, 2) [, climb and turn (1, F, modes, 2)] of frames 1 … F
    residual     features (1, C, h, w) of a frame, codes (1, depth, h, w) → logits (1, depth − 1, n_e, h, w) of the
                 further depths
    decoder      codes (1, h, w) [, moved past (1, X, Y, Z) uint8, context (1, 7)] → classes (1, X, Y, Z) uint8 and the
                 probability of being occupied (1, X, Y, Z)

What stands in brackets is AerialOccWorld's. F is `history + future − 1`: output f depends on frames 0 … f alone, so a
roll-out fills the frames that it does not have yet with anything, reads frame f, and goes on. Numbers are those of the
eager model but for the last bits of sums in another order; codes can differ where two lie equally near.

Residual codes (`model.code_depth` above 1) are (1, [F,] depth, h, w). The transformer then gives the first depth's
logits and each frame's features (1, F, C, h, w) too, and `residual` is there: depth k reads the codes of the depths
before it alone, so that one call per depth finds them one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import write_json
from aerialworld_core.labels import FREE
from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.aerial.config import STATES, UNKNOWN
from aerialworld_training.models.aerial.fill import BANDS, NONE, with_hints
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.trained import Trained

FORMATS = ("onnx", "pt2")
#: Largest deviation of a real-valued output from the eager model's, relative to max(1, largest magnitude).
TOLERANCE = 1e-4
#: Share of codes and classes that may differ: two candidates within rounding.
TIES = 1e-3


class DeviationError(AerialWorldError):
    """An exported graph does not compute what the model does."""


def columns_of(model: AerialOccWorld, states: Tensor) -> Tensor:
    """States (1, X, Y, Z) → what the height adapter makes of each column (1, X, Y, C), level by level: the eager model
    skips free voxels, which a fixed graph cannot."""
    table = model.aerial.heights.columns(model.vae.class_embeds.weight)
    image = table[0][states[..., 0].long()]
    for level in range(1, table.shape[0]):
        image = image + table[level][states[..., level].long()]
    return image


def hinted(model: AerialOccWorld, hints: Tensor) -> Tensor:
    """What hints (1, X, Y, Z) add to the class logits (1, X, Y, Z, classes), looked up in a table of all hints."""
    every = torch.arange(BANDS * STATES + 1, dtype=torch.uint8, device=hints.device)
    free = torch.full_like(every, FREE)[:, None]  # the same for each, taken off again
    no_hint = (every == BANDS * STATES) | (every % STATES == UNKNOWN)  # nothing hints at the unknown
    table = model.aerial.warp(free, every.masked_fill(no_hint, NONE)) - model.aerial.warp(free)
    return table[hints.long().clamp(max=BANDS * STATES)]


class Encoder(nn.Module):
    def __init__(self, model: OccWorld) -> None:
        super().__init__()
        self.model = model

    def forward(self, states: Tensor) -> Tensor:
        model, vae = self.model, self.model.vae
        if isinstance(model, AerialOccWorld):
            image = columns_of(model, states)
        else:
            image = vae.class_embeds(states.long()).flatten(3)
        quantizer = model.quantizer
        return quantizer.indices(quantizer.quant_conv(vae.encoder(image.permute(0, 3, 1, 2))[0]))


class Transformer(nn.Module):
    def __init__(self, model: OccWorld) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor, rel_poses: Tensor, modes: Tensor, *ego: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        zq = model.quantizer.lookup(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        if not isinstance(model, AerialOccWorld):
            return model(zq, rel_poses, modes)
        features, moves, turns = model.features(zq, rel_poses, modes, ego[0])
        logits = model.transformer.code_logits(features)
        return (logits, moves, turns) if model.aerial.residual is None else (logits, moves, turns, features)


class Residual(nn.Module):
    """The further depths' logits of one frame."""

    def __init__(self, model: AerialOccWorld) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        residual = self.model.aerial.residual
        assert residual is not None
        return torch.stack(residual.known(self.model.vae.vqvae.lookup(codes[:, 0]), features, codes), 1)


class Decoder(nn.Module):
    def __init__(self, model: OccWorld, from_past: bool) -> None:
        super().__init__()
        self.model, self.from_past = model, from_past

    def forward(self, codes: Tensor, *past: Tensor) -> tuple[Tensor, Tensor]:
        model, zq = self.model, self.model.quantizer.lookup(codes)
        if not isinstance(model, AerialOccWorld):
            logits = model.vae.decode(zq)
        elif not self.from_past:
            logits = model.vae.classify(model.decode_features(zq))
        else:
            moved, context = past
            hints = model.hints(moved)
            images = [columns_of(model, v).permute(0, 3, 1, 2) for v in (moved, with_hints(moved, hints))]
            features = model.aerial.correction(model.decode_image(zq), *images, context)
            states = torch.arange(STATES, dtype=torch.uint8, device=moved.device)
            evidence = model.aerial.warp(states[:, None])  # (19, classes): one voxel of each state
            logits = evidence[moved.long()] + hinted(model, hints) + model.vae.classify(features)
        return logits.argmax(-1).to(torch.uint8), 1 - logits.softmax(-1)[..., FREE]


@dataclass(frozen=True, eq=False)
class Part:
    """A module, inputs to trace it with by name, and its outputs' names."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


def parts_of(trained: Trained, seed: int = 0) -> dict[str, Part]:
    """The parts with random inputs of their sizes, drawn from `seed`. Raises InputError for a model whose past
    votes with several samples per voxel, which the graphs do not hold."""
    model, aerial = trained.model, trained.aerial
    config, rng = model.config, torch.Generator().manual_seed(seed)
    frames = trained.history + trained.future - 1
    states = torch.randint(0, STATES if aerial else FREE + 1, (1, *trained.grid.shape), generator=rng).to(torch.uint8)
    depth = len(model.quantizer.tables)
    deep = () if depth == 1 else (depth,)
    codes = torch.randint(config.n_e, (1, frames, *deep, *config.latent_shape), generator=rng)
    motion = {
        "codes": codes,
        "rel_poses": torch.randn(1, frames, 2, generator=rng),
        "modes": torch.eye(config.num_modes)[torch.randint(config.num_modes, (1, frames), generator=rng)],
    }
    motion_out: tuple[str, ...] = ("code_logits", "displacements")
    decoder = {"codes": codes[:, 0]}
    if aerial:
        motion["ego"] = torch.randn(1, frames, 8, generator=rng)
        motion_out += ("climb_turn",) if depth == 1 else ("climb_turn", "features")
        if trained.from_past:
            if aerial.aerial_config.warp_samples != 1:
                raise InputError(
                    "model.warp_samples above 1 is not exported: in the graphs a voxel's past is one state"
                )
            decoder |= {"moved_past": states, "context": torch.randn(1, 7, generator=rng)}
    parts = {
        "encoder": Part(Encoder(model), {"states": states}, ("codes",)),
        "transformer": Part(Transformer(model), motion, motion_out),
        "decoder": Part(Decoder(model, trained.from_past), decoder, ("classes", "occupied")),
    }
    if aerial and depth > 1:
        features = torch.randn(1, config.channels[0], *config.latent_shape, generator=rng)
        inputs = {"features": features, "codes": codes[:, 0]}
        parts["residual"] = Part(Residual(aerial), inputs, ("code_logits",))
    return parts


def export_graphs(trained: Trained, out: Path, kind: str) -> list[str]:
    """Write `encoder`, `transformer`, `decoder` and of residual codes `residual` (`.onnx`, or `.pt2` of torch.export)
    and `graphs.json` into `out`, check each against the eager model on inputs that it was not traced with, and say in
    lines what was found.

    Raises InputError for an unknown kind or a missing library, DeviationError where a graph computes something else.
    """
    if kind not in FORMATS:
        raise InputError(f"graphs are {' or '.join(FORMATS)}, not {kind!r}")
    if kind == "onnx":
        for library in ("onnx", "onnxscript", "onnxruntime"):
            try:
                __import__(library)
            except ImportError as error:
                raise InputError(
                    f"ONNX needs {library}, which is not installed: pip install 'aerialworld_training[onnx]'"
                ) from error
    out.mkdir(parents=True, exist_ok=True)
    fresh, lines = parts_of(trained, seed=1), []
    described: dict[str, Any] = {}
    with torch.no_grad():
        for name, part in parts_of(trained).items():
            path = out / f"{name}.{kind}"
            program = torch.export.export(part.module.eval(), tuple(part.inputs.values()))
            inputs = fresh[name].inputs
            expected = _tuple(part.module(*inputs.values()))
            if kind == "pt2":
                torch.export.save(program, path)
                found = _tuple(torch.export.load(path).module()(*inputs.values()))
            else:
                torch.onnx.export(
                    program, f=str(path), input_names=list(part.inputs), output_names=list(part.outputs),
                    external_data=False, dynamo=True, verbose=False,
                )  # fmt: skip
                found = run_onnx(path, inputs)
            worst = {o: deviation(f"{path}: {o}", a, b) for o, a, b in zip(part.outputs, expected, found, strict=True)}
            described[name] = {
                "file": path.name,
                "inputs": {k: [str(v.dtype).removeprefix("torch."), list(v.shape)] for k, v in part.inputs.items()},
                "outputs": {
                    o: [str(v.dtype).removeprefix("torch."), list(v.shape)]
                    for o, v in zip(part.outputs, expected, strict=True)
                },
            }
            lines.append(f"{path}: " + ", ".join(f"{o} within {w:.1e}" for o, w in worst.items()))
    write_json(
        out / "graphs.json",
        {
            "model": trained.name, "history": trained.history, "future": trained.future, "step_s": trained.step,
            "grid": trained.grid.to_dict(), "parts": described, "run_config": trained.config,
        },
    )  # fmt: skip
    return lines


def run_onnx(path: Path, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """A graph's outputs by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return tuple(torch.from_numpy(np.asarray(o)) for o in session.run(None, {k: v.numpy() for k, v in inputs.items()}))


def deviation(what: str, expected: Tensor, found: Tensor) -> float:
    """Largest relative deviation, or the share of whole numbers that differ. Raises DeviationError above what rounding
    explains."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        raise DeviationError(f"{what}: {found.dtype} {tuple(found.shape)} ≠ {expected.dtype} {tuple(expected.shape)}")
    if expected.is_floating_point():
        worst = float((expected - found).abs().max()) / max(1.0, float(expected.abs().max()))
        allowed = TOLERANCE
    else:
        worst, allowed = float((expected != found).double().mean()), TIES
    if not worst <= allowed:
        raise DeviationError(f"{what}: off by {worst:.2e} from the model, {allowed:g} is allowed")
    return worst


def _tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
