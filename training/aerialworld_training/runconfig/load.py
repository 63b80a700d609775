"""A config by name or file, with overrides, as a checked `RunConfig`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from aerialworld_core.errors import InputError
from aerialworld_training.runconfig.python_files import Layer, override, read_layers
from aerialworld_training.runconfig.schema import RunConfig
from aerialworld_training.runconfig.translate import translate
from aerialworld_training.runconfig.typed import apply, read_override, read_table


def folder() -> Path:
    return Path(str(resources.files("aerialworld_training") / "configs"))


def run_config_names() -> list[str]:
    """Names of the Python configs that come with the package."""
    return sorted(p.stem for p in folder().glob("*.py") if not p.stem.startswith("_"))


def load_run_config(name: str | Path, overrides: Sequence[str] = ()) -> tuple[RunConfig, list[str]]:
    """A config and notes on what in it has no effect.

    name       one that comes with the package (`finetune_tokyo`), or a file: `.py`, or `.yaml` with the same keys
    overrides  `key.sub=value` on top, by the keys of the guides or the schema; a name of the package's, with or without
               the guides' folder and suffix (`config/finetune_tokyo.py`), is found too where no such file is there

    Raises InputError for a missing file, an unknown key (naming the nearest), contradictions and unsupported values.
    """
    path = find(name)
    if path.suffix == ".py":
        layers = read_layers(path, folder())
    else:
        try:
            layers = [Layer(path.name, read_table(path.read_text(encoding="utf-8"), path.name))]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a readable config file: {error}") from error
    if path.stem == "train_vqvae" and not any("stage" in layer.settings for layer in layers):
        # The guides tell the stages apart by the file's name alone.
        layers.insert(0, Layer(path.name, {"stage": "vqvae", "freeze": {"vae": False}}))
    values, notes = translate(with_overrides(layers, overrides))
    return apply(RunConfig(), values, path.name), notes


def find(name: str | Path) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    own = folder() / f"{path.stem if path.suffix in ('', '.py') else path.name}.py"
    if own.is_file():
        return own
    raise InputError(f"{name}: no such config file, and none of the built-in ones: {', '.join(run_config_names())}")


def with_overrides(layers: Sequence[Layer], overrides: Sequence[str]) -> list[Layer]:
    """The layers and one of overrides on top; positions in a list change it where the list is written."""
    layers, over = list(layers), Layer("--set", {})
    for text in overrides:
        key, value = read_override(text)
        first = key.split(".")[0]
        lists = [i for i, layer in enumerate(layers) if isinstance(layer.settings.get(first), (list, tuple))]
        if lists and "." in key:
            at = layers[lists[-1]]
            layers[lists[-1]] = Layer(at.source, override(at.settings, key, value))
        else:
            over = Layer(over.source, override(over.settings, key, value))
    return [*layers, over]


def read_resolved(path: Path) -> RunConfig:
    """The YAML that a run stored; no code is read. Raises InputError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_resolved(text, str(path))


def parse_resolved(text: str, source: str) -> RunConfig:
    """As `read_resolved`, from the text that a checkpoint holds. Raises InputError."""
    return apply(RunConfig(), read_table(text, source), source)
