"""The files of a reference set: reading and writing them, arrays whole or as samples.

A set is a folder with `model_config.json` (the original's nested model dictionary), `state_dict.pt`, `inputs.npz` and
any of `outputs_vae.npz`, `outputs_teacher_forced.npz`, `outputs_autoregressive.npz`, `train_vae_grads.pt` and
`train_worldmodel_grads.pt`. A large array is stored as samples: `<name>__idx` (flat indices in C order), `__val`,
`__shape` and `__mean_absmean_max`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError

Array = NDArray[Any]
SUFFIXES = ("__idx", "__val", "__shape", "__mean_absmean_max")


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recorded array: `values` at the flat indices `at`, or all of them where `at` is None."""

    shape: tuple[int, ...]
    values: Array
    at: NDArray[np.int64] | None = None
    statistics: Array | None = None  # mean, mean of magnitudes and maximum of the whole, where only samples are kept

    @property
    def whole(self) -> Array:
        """The array itself; only where it is whole."""
        if self.at is not None:
            raise ValueError("this array is stored as samples")
        return self.values.reshape(self.shape)

    def take(self, values: Array) -> Array:
        """The entries of `values` (of the recorded shape) that were recorded."""
        flat = np.asarray(values).reshape(-1)
        return flat if self.at is None else flat[self.at]


class ReferenceSet:
    """A folder of the described form."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError when it holds no configuration."""
        self.folder = Path(folder)
        path = self.folder / "model_config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror}); a reference set is a folder with model_config.json, "
                "state_dict.pt, inputs.npz and recorded outputs"
            ) from error
        except ValueError as error:
            raise InputError(f"{path}: not JSON: {error}") from error
        if not isinstance(config, dict):
            raise InputError(f"{path}: not a table of keys")
        self.config: dict[str, Any] = config
        self._arrays: dict[str, dict[str, Recorded]] = {}

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def arrays(self, name: str) -> dict[str, Recorded]:
        """The arrays of one npz file, read once. Raises InputError when it is absent or damaged."""
        if name not in self._arrays:
            self._arrays[name] = self._read(name)
        return self._arrays[name]

    def _read(self, name: str) -> dict[str, Recorded]:
        path = self.folder / name
        try:
            with np.load(path, allow_pickle=False) as archive:
                data = {key: archive[key] for key in archive}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not a readable npz file of plain arrays: {error}") from error
        found: dict[str, Recorded] = {}
        for key, values in data.items():
            if key.endswith(SUFFIXES[0]):
                base = key.removesuffix(SUFFIXES[0])
                missing = [base + s for s in SUFFIXES[1:3] if base + s not in data]
                if missing:
                    raise InputError(f"{path}: {key} is there and {', '.join(missing)} is not")
                shape = tuple(int(n) for n in data[base + "__shape"])
                found[base] = Recorded(shape, data[base + "__val"], values, data.get(base + "__mean_absmean_max"))
            elif not key.endswith(SUFFIXES):
                found[key] = Recorded(values.shape, values)
        return found


def write_arrays(path: Path, arrays: Mapping[str, Array], sample_above: int, samples: int, seed: int = 0) -> None:
    """Write an npz file of the described form; arrays of more than `sample_above` elements as `samples` of them."""
    rng = np.random.default_rng(seed)
    data: dict[str, Array] = {}
    for name, values in arrays.items():
        if values.size <= sample_above:
            data[name] = values
            continue
        at = np.sort(rng.choice(values.size, min(samples, values.size), replace=False))
        wide = values.astype(np.float64, copy=False)
        data[name + "__idx"] = at
        data[name + "__val"] = values.reshape(-1)[at]
        data[name + "__shape"] = np.array(values.shape)
        data[name + "__mean_absmean_max"] = np.array([wide.mean(), np.abs(wide).mean(), wide.max()])
    np.savez_compressed(path, allow_pickle=False, **data)
