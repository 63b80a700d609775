"""A model for others: as the original's code loads it, as safetensors, or its parts as graphs (ONNX, torch.export).

python -m aerialworld_training.export run/best.pth occworld.pth
python -m aerialworld_training.export run/best.pth graphs/ --graphs onnx
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_training.checkpoint import save_torch
from aerialworld_training.graphs import FORMATS, export_graphs
from aerialworld_training.models.occworld.safetensors_file import write_safetensors
from aerialworld_training.models.occworld.state_dict_adapter import AERIAL, read_checkpoint, to_original
from aerialworld_training.trained import load_trained


def export(source: Path, out: Path, *, stage_1: bool = False) -> str:
    """Write the weights of a checkpoint to `out` and say what was written.

    `.pth`: `{"state_dict": …}` with the original's keys alone, or the VAE's without `vae.` for `stage_1`;
    `.safetensors`: every key as it is. Raises InputError.
    """
    if out.resolve() == source.resolve():
        raise InputError(f"{out}: is the file that is read; choose another name")
    checkpoint = read_checkpoint(source)
    state = checkpoint.state
    if out.suffix == ".safetensors":
        if stage_1:
            raise InputError("--stage-1 is for .pth files, which the original's code loads")
        config = checkpoint.rest.get("config")
        write_safetensors(out, state, {"format": "pt", **({"config": config} if isinstance(config, str) else {})})
        return f"{out}: {len(state)} tensors"
    if out.suffix != ".pth":
        raise InputError(f"{out}: must end in .pth or .safetensors")
    data = to_original(state, stage_1=stage_1, epoch=0, global_iter=0)
    kept = data["state_dict"]
    if not kept:
        raise InputError(f"{source}: holds no VAE")
    save_torch(out, data)
    left = sum(k.startswith(AERIAL) for k in state)
    note = f"; {left} tensors under aerial. left out, which only tall grids have" if left and not stage_1 else ""
    return f"{out}: {len(kept)} tensors{note}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aerialworld_training.export", description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="a checkpoint: ours, the original's, .pth or .safetensors")
    parser.add_argument("out", type=Path, help="FILE.pth, FILE.safetensors, or the graphs' folder")
    parser.add_argument("--stage-1", action="store_true", help="the VAE alone, with the keys of a stage-1 file")
    parser.add_argument(
        "--graphs", choices=FORMATS, help="encoder, transformer and decoder as graphs, checked against the model"
    )
    options = parser.parse_args(arguments)
    try:
        if options.graphs:
            if options.stage_1 or options.out.suffix:
                raise InputError("--graphs writes several files: OUT is a folder, and --stage-1 does not go with it")
            print("\n".join(export_graphs(load_trained(options.source), options.out, options.graphs)))
            return 0
        print(export(options.source, options.out, stage_1=options.stage_1))
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
