"""A config by name or file, with overrides, as a checked `RunConfig`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """A config of one stage and notes on what in it has no effect; the rest as `load_stages`."""
    stages = load_stages(name, overrides)
    if len(stages) > 1:
        raise InputError(
            f"{name}: has the stages {', '.join(config.stage for config, _ in stages)}; `train` runs them one after "
            "the other, this takes a config of one"
        )
    return stages[0]


def load_stages(name: str | Path, overrides: Sequence[str] = ()) -> list[tuple[RunConfig, list[str]]]:
    """The stages of a config in order, each with notes on what in it has no effect. Most configs are of one stage; the
    tables of a list `stages` go over the file's other settings, one after the other.

    name       one that comes with the package (`finetune_tokyo`), or a file: `.py`, or `.yaml` with the same keys
    overrides  `key.sub=value` on top, by the keys of the guides or the schema (`stages.0.key=value` for the first stage
               alone); a name of the package's, with or without the guides' folder and suffix
               (`config/finetune_tokyo.py`), is found too where no such file is there

    Raises InputError for a missing file, an unknown key (naming the nearest), contradictions and unsupported values.
    """
    path = find(name)
    if path.suffix == ".py":
        layers = read_layers(path, folder())
    else:
        try:
            table = read_table(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a readable config file: {error}") from error
        if "_base_" in table:
            raise InputError(f"{path}: _base_ is for Python configs (.py); a YAML file says all that is no default")
        layers = [Layer(path.name, table)]
    if path.stem == "train_vqvae" and not any("stage" in layer.settings for layer in layers):
        # The guides tell the stages apart by the file's name alone.
        layers.insert(0, Layer(path.name, {"stage": "vqvae", "freeze": {"vae": False}}))
    out = []
    for stage in stages_of(layers, overrides, path.name):
        values, notes, origins = translate(stage)
        out.append((apply(RunConfig(), values, path.name, origins=origins), notes))
    return out


def stages_of(layers: Sequence[Layer], overrides: Sequence[str], source: str) -> list[list[Layer]]:
    """The layers of each stage: the file's own without its list of stages, that stage's table, the overrides (those of
    one stage over those of all)."""
    lists = [layer.settings["stages"] for layer in layers if "stages" in layer.settings]
    own = [Layer(layer.source, {k: v for k, v in layer.settings.items() if k != "stages"}) for layer in layers]
    tables, of_all, of_one = lists[-1] if lists else None, list[str](), list[tuple[str, str]]()
    for text in overrides:
        key, equals, value = text.partition("=")
        if key == "stages":
            tables = read_override(text)[1]
        elif key.startswith("stages."):
            position, _, rest = key.removeprefix("stages.").partition(".")
            if not rest:
                raise InputError(f"--set {text}: name a key of the stage, as in stages.0.epochs=4")
            of_one.append((position, f"{rest}{equals}{value}"))
        else:
            of_all.append(text)
    if tables is None and not of_one:
        return [with_overrides(own, of_all)]
    if not isinstance(tables, (list, tuple)) or not tables or not all(isinstance(t, Mapping) for t in tables):
        raise InputError(f"{source}: stages must be a list of tables, one for each stage, not {tables!r}")
    for position, text in of_one:
        if position not in map(str, range(len(tables))):
            raise InputError(
                f"--set stages.{position}.{text}: stages is a list of {len(tables)}; name a position in it"
            )
    return [
        with_overrides(
            [*own, Layer(f"{source}, stages.{k}", dict(table))],
            [*of_all, *(text for position, text in of_one if position == str(k))],
        )
        for k, table in enumerate(tables)
    ]


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
