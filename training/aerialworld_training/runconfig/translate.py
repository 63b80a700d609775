"""From the tables that config files hold to the schema's: every key accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_training.models.occworld import OccWorldConfig
from aerialworld_training.runconfig.python_files import Layer
from aerialworld_training.runconfig.rules import (
    HOOKS,
    LOSS_OPTIONS,
    LOSSES,
    PIPELINE,
    RULES,
    STRATEGIES,
    Must,
    Warn,
    data_type,
    rule_of,
)
from aerialworld_training.runconfig.schema import AugmentConfig, DataConfig, ModelConfig, RunConfig
from aerialworld_training.runconfig.typed import known_keys, unknown_key


def translate(layers: Sequence[Layer]) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """The schema's nested table, later layers over earlier ones, notes on what had no effect, and the source of each
    dotted key.

    Raises InputError for an unknown key, an unsupported value, and two keys of one layer that say different things.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    notes: list[str] = []
    checks: list[Translation] = []
    for layer in layers:
        translation = Translation(layer.source)
        for key, value in layer.settings.items():
            translation.take(key, value)
        if values.get("runtime.precision") in translation.switched_off:
            values["runtime.precision"] = "fp32"
        values |= {key: value for key, (value, _) in translation.found.items()}
        origins |= dict.fromkeys(translation.found, layer.source)
        for key, value in translation.defaults.items():
            values.setdefault(key, value)
        notes += translation.notes
        checks.append(translation)
    for translation in checks:
        translation.check(values)
    return nested(values), notes, origins


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables in tables."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        *parts, last = key.split(".")
        table = out
        for part in parts:
            table = table.setdefault(part, {})
        table[last] = value
    return out


def leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from leaves(f"{prefix}.{key}", part)
    else:
        yield prefix, value


class Translation:
    """One layer. `found` maps the schema's dotted keys to the value and the key that gave it; `defaults` count where
    no layer says otherwise."""

    def __init__(self, source: str) -> None:
        self.source, self.known = source, set(known_keys(RunConfig))
        self.found: dict[str, tuple[Any, str]] = {}
        self.defaults: dict[str, Any] = {}
        self.switched_off: set[str] = set()
        self.grid_size: Any = None
        self.train_ratio: Any = None
        self.end_frame: Any = None
        self.notes: list[str] = []

    def set(self, key: str, value: Any, by: str) -> None:
        """Raises InputError when another key has set another value."""
        if key not in self.known:
            raise unknown_key(by, [*self.known, *RULES], self.source)
        value = list(value) if isinstance(value, tuple) else value
        old = self.found.get(key)
        if old is not None and old[0] != value:
            raise InputError(f"{self.source}: {by} = {value!r} contradicts {old[1]} = {old[0]!r}")
        self.found[key] = value, by

    def note(self, key: str, why: str) -> None:
        self.notes.append(f"{self.source}: {key} has no effect: {why}")

    def take(self, key: str, value: Any) -> None:
        """One top-level key."""
        whole = getattr(self, f"take_{key}", None)
        if whole is not None:
            whole(value)
        else:
            for path, leaf in leaves(key, value):
                self.leaf(path, leaf)

    def leaf(self, path: str, value: Any) -> None:
        rule = rule_of(path)
        if rule is None:
            self.set(path, value, path)
        elif isinstance(rule, Warn):
            self.note(path, rule.why)
        elif isinstance(rule, Must):
            allowed = rule.value if isinstance(rule.value, tuple) else (rule.value,)
            if value not in allowed:
                wanted = " or ".join(map(repr, allowed))
                raise InputError(f"{self.source}: {path} = {value!r}; only {wanted} is supported: {rule.why}")
        elif value is not None:
            target = rule.key.replace("*", path.split(".", 1)[1]) if "*" in rule.key else rule.key
            self.set(target, rule.change(value) if rule.change else value, path)

    # --- keys that are more than their leaves ---

    def take_strategy(self, value: Any) -> None:
        if value not in STRATEGIES:
            raise InputError(f"{self.source}: strategy must be one of {', '.join(STRATEGIES)}, not {value!r}")
        for key, setting in STRATEGIES[value].items():
            self.set(key, setting, f"strategy {value}")

    def take_data(self, value: Any) -> None:
        for name, part in self.table("data", value).items():
            if name not in ("train", "val", "test"):
                for path, leaf in leaves(f"data.{name}", part):
                    self.leaf(path, leaf)
                continue
            part = dict(self.table(f"data.{name}", part))
            if data_type(part.get("type")) == "ConcatDataset":
                self.concat(f"data.{name}", part)
                continue
            inner = dict(self.table(f"data.{name}.config", part.pop("config", {})))
            if inner.pop("split", name) != name:
                raise InputError(f"{self.source}: data.{name}.config.split must be {name!r}")
            for key, leaf in part.items():
                names = {"type": "data.type", "data_root": "data.root"}
                if key not in names:
                    raise unknown_key(
                        f"data.{name}.{key}", [f"data.{name}.{k}" for k in (*names, "config")], self.source
                    )
                self.set(names[key], data_type(leaf) if key == "type" else leaf, f"data.{name}.{key}")
            for key, leaf in inner.items():
                self.set(f"data.{key}", leaf, f"data.{name}.config.{key}")

    def concat(self, name: str, part: Mapping[str, Any]) -> None:
        roots = []
        for i, one in enumerate(part.get("datasets", [])):
            where = f"{name}.datasets[{i}]"
            kind = data_type(self.table(where, one).get("type"))
            if kind != "gazebo":
                raise InputError(f"{self.source}: {where}: the loader of {kind!r} is yet to come")
            if set(one) - {"type", "data_root"} or "data_root" not in one:
                raise InputError(f"{self.source}: {where}: takes type and data_root")
            roots.append(one["data_root"])
        if len(roots) < 2:
            raise InputError(f"{self.source}: {name}.datasets: two or more data sets")
        if extra := set(part) - {"type", "datasets", "sample_weights"}:
            raise unknown_key(f"{name}.{min(extra)}", [f"{name}.datasets", f"{name}.sample_weights"], self.source)
        self.set("data.type", "gazebo", name)
        self.set("data.root", roots[0], name)
        self.set("data.concat", roots[1:], name)
        if "sample_weights" in part:
            self.set("data.sample_weights", part["sample_weights"], name)

    def take_model(self, value: Any) -> None:
        table = dict(self.table("model", value))
        if "vae" in table or "encoder_cfg" in table:
            self.original_model(table)
            return
        if table.get("type") == "OccWorld6DoF":
            self.set("model.kind", "aerial", "model.type")
        if "grid_size" in table:
            self.take_grid_size(table.pop("grid_size"))
        for path, leaf in leaves("model", table):
            self.leaf(path, leaf)

    def original_model(self, table: dict[str, Any]) -> None:
        """The original's nested dictionary; of stage 1 the VAE's alone, whose other sizes stay the public ones."""
        names = {f.name for f in fields(ModelConfig)}
        if "encoder_cfg" in table:
            sizes = OccWorldConfig.vae_from_original(table)
        else:
            sizes = OccWorldConfig.from_original(table)
        for f in fields(sizes):
            if f.name in names:
                self.set(f"model.{f.name}", getattr(sizes, f.name), "model")
            elif f.name in ("num_classes", "num_modes") and getattr(sizes, f.name) != f.default:
                raise InputError(
                    f"{self.source}: model: {f.name} = {getattr(sizes, f.name)}; sessions hold {f.default}"
                )
        self.set("model.slots", sizes.grid_shape[2], "model")
        self.set("model.kind", "occworld", "model")
        if "encoder_cfg" in table:
            self.set("stage", "vqvae", "model.type VAERes2D")
            self.set("freeze.vae", False, "model.type VAERes2D")
        # Its data have this grid; the configs leave it to the data set's code.
        if sizes.grid_shape == (200, 200, 16):
            self.defaults["data.point_cloud_range"] = [-40.0, -40.0, -1.0, 40.0, 40.0, 5.4]
            self.defaults["data.voxel_size"] = [0.4, 0.4, 0.4]

    def take_grid_size(self, value: Any) -> None:
        self.grid_size = list(value) if isinstance(value, (list, tuple)) else value

    def take_loss(self, value: Any) -> None:
        table = dict(self.table("loss", value))
        for i, one in enumerate(table.pop("loss_cfgs", [])):
            name = self.table(f"loss.loss_cfgs[{i}]", one).get("type")
            if name not in LOSSES:
                raise InputError(f"{self.source}: loss.loss_cfgs[{i}]: {name!r}; known are {', '.join(LOSSES)}")
            self.set(LOSSES[name], float(one.get("weight", 1.0)), f"loss.loss_cfgs[{i}] {name}")
            for key in one:
                where = f"loss.loss_cfgs[{i}].{key}"
                if key not in (*LOSS_OPTIONS, "type", "weight", "input_dict"):  # input_dict: names of inner tables
                    known = [f"loss.loss_cfgs[{i}].{k}" for k in (*LOSS_OPTIONS, "weight")]
                    raise unknown_key(where, known, self.source)
                only = LOSS_OPTIONS.get(key, one[key])
                if one[key] != only:
                    raise InputError(f"{self.source}: {where} = {one[key]!r}; only {only!r} is supported")
        for path, leaf in leaves("loss", table):
            self.leaf(path, leaf)

    def take_log_config(self, value: Any) -> None:
        table = dict(self.table("log_config", value))
        hooks = table.pop("hooks", None)
        names = [self.table(f"log_config.hooks[{i}]", hook).get("type") for i, hook in enumerate(hooks or [])]
        for name in names:
            if name not in HOOKS:
                raise InputError(f"{self.source}: log_config.hooks: {name!r}; known are {', '.join(HOOKS)}")
        for name, key in HOOKS.items():
            if hooks is not None and key:  # the list says which loggers there are
                self.set(key, name in names, "log_config.hooks")
        for path, leaf in leaves("log_config", table):
            self.leaf(path, leaf)

    def take_fp16(self, value: Any) -> None:
        self.precision("fp16", value)

    def take_bf16(self, value: Any) -> None:
        self.precision("bf16", value)

    def precision(self, name: str, value: Any) -> None:
        """Present means enabled unless it says otherwise."""
        table = dict(self.table(name, value))
        enabled = table.pop("enabled", True)
        if table.pop("loss_scale", "dynamic") != "dynamic":
            raise InputError(f"{self.source}: {name}.loss_scale: only 'dynamic' is supported")
        if table:
            raise unknown_key(f"{name}.{min(table)}", [f"{name}.enabled", f"{name}.loss_scale"], self.source)
        if enabled:
            self.set("runtime.precision", name, f"{name}.enabled")
        else:
            self.switched_off.add(name)

    def take_end_frame(self, value: Any) -> None:
        self.end_frame = value

    def take_train_ratio(self, value: Any) -> None:
        self.train_ratio = value

    def take_train_pipeline(self, value: Any) -> None:
        """The list says all that is done: what is not in it is off, whatever a base says."""
        for step in value:
            self.step(dict(self.table("train_pipeline", step)))
        for f in fields(AugmentConfig):
            if f"augment.{f.name}" not in self.found:
                self.set(f"augment.{f.name}", f.default, "train_pipeline")

    def take_val_pipeline(self, value: Any) -> None:
        for step in value:
            name = self.table("val_pipeline", step).get("type")
            if not isinstance(name, str) or name not in PIPELINE:
                raise InputError(f"{self.source}: val_pipeline: {name!r}; known are {', '.join(PIPELINE)}")
            if isinstance(PIPELINE[name], Mapping):
                raise InputError(
                    f"{self.source}: val_pipeline: {name} changes what is scored; leave it to train_pipeline"
                )

    def take_transform(self, value: Any) -> None:
        for name, step in self.table("transform", value).items():
            self.step({"type": name, **self.table(f"transform.{name}", step)})

    def step(self, step: dict[str, Any]) -> None:
        name = step.pop("type", None)
        if name not in PIPELINE:
            raise InputError(f"{self.source}: train_pipeline: {name!r}; known are {', '.join(PIPELINE)}")
        meaning = PIPELINE[name]
        if isinstance(meaning, str):
            if meaning:
                self.note(f"train_pipeline {name}", meaning)
            return
        if name == "RandomFlip3D" and step.pop("direction", "horizontal") not in ("horizontal", "vertical"):
            raise InputError(f"{self.source}: train_pipeline {name}: direction is 'horizontal' or 'vertical'")
        for key, given in step.items():
            if key not in meaning:
                raise unknown_key(f"{name}.{key}", [f"{name}.{k}" for k in meaning], self.source)
            self.set(meaning[key], widest(given) if key == "angle" else float(given), f"train_pipeline {name}.{key}")

    def table(self, key: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise InputError(f"{self.source}: {key} must be a table of keys, not {value!r}")
        return value

    def check(self, values: Mapping[str, Any]) -> None:
        """What says the same as other keys must agree with them, whichever layer they come from."""
        data = {k: values.get(f"data.{k}", getattr(DataConfig, k)) for k in _CHECKED}
        if self.grid_size is not None:
            shape = list(VoxelGrid.from_range(data["point_cloud_range"], data["voxel_size"]).shape)
            if shape != self.grid_size:
                raise InputError(
                    f"{self.source}: grid_size {self.grid_size} does not follow from point_cloud_range and voxel_size, "
                    f"which give {shape}"
                )
        if self.end_frame is not None and self.end_frame != data["history_frames"] + data["future_frames"]:
            raise InputError(
                f"{self.source}: end_frame {self.end_frame} is not mid_frame + eval_length, "
                f"{data['history_frames']} + {data['future_frames']}"
            )
        if self.train_ratio is not None:
            rest = data["val_ratio"] + data["test_ratio"]
            if abs(self.train_ratio + rest - 1) > 1e-6:
                raise InputError(
                    f"{self.source}: train_ratio {self.train_ratio} and the other ratios ({rest:g}) do not sum to 1"
                )


_CHECKED = ("point_cloud_range", "voxel_size", "val_ratio", "test_ratio", "history_frames", "future_frames")


def widest(angle: Any) -> float:
    """The larger magnitude of an angle or a range of angles in degrees."""
    return float(max(abs(a) for a in angle)) if isinstance(angle, (list, tuple)) else abs(float(angle))
