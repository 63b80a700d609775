"""Our model against a reference set, output by output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from aerialworld_core.errors import InputError
from aerialworld_core.labels import FREE
from aerialworld_training.metrics import confusion, scores
from aerialworld_training.models.occworld import OccWorld, OccWorldConfig, load_complete
from aerialworld_training.models.occworld.state_dict_adapter import from_original, read_torch
from aerialworld_training.reference import run
from aerialworld_training.reference.deviations import TOLERANCE, Comparison, Deviation, limit_of, settled
from aerialworld_training.reference.form import Recorded, ReferenceSet
from aerialworld_training.reference.kinks import Gradients, settled_gradients
from aerialworld_training.reference.ties import decode_likeliest

#: Squared distances closer than this are ties between codes.
CODE_TIE = 1e-3
Tell = Callable[[str], None]


def check(
    reference: ReferenceSet, *, device: str = "cpu", every_gradient: bool = False, tell: Tell = print
) -> list[Deviation]:
    """Run all that the set records; returns the rows. Raises InputError when the set is damaged or records nothing."""
    return Check(reference, torch.device(device), every_gradient, tell).go()


class Check:
    """One run over a set. `z`, `indices`: the latent and the codes of every frame, ties settled as recorded."""

    def __init__(self, reference: ReferenceSet, device: torch.device, every_gradient: bool, tell: Tell) -> None:
        self.reference, self.device, self.every_gradient, self.tell = reference, device, every_gradient, tell
        self.comparison = Comparison()
        inputs = reference.arrays("inputs.npz")
        wanted = ("occ_structured", "rel_poses", "gt_mode")
        missing = [name for name in wanted if name not in inputs]
        if missing:
            raise InputError(f"{reference.folder / 'inputs.npz'}: {', '.join(missing)} not in it")
        sampled = [name for name, array in inputs.items() if array.at is not None]
        if sampled:
            raise InputError(f"{reference.folder / 'inputs.npz'}: {', '.join(sampled)} is there as samples alone")
        self.inputs = {name: torch.from_numpy(array.whole).to(device) for name, array in inputs.items()}
        self.inputs |= {name: self.inputs[name].float() for name in ("rel_poses", "gt_mode")}
        shape = tuple(self.inputs["occ_structured"].shape[2:])
        model = OccWorld(OccWorldConfig.from_original(reference.config, (shape[0], shape[1])))
        path = reference.folder / "state_dict.pt"
        report = load_complete(model, from_original(read_torch(path), str(path)).state, str(path))
        tell(f"{path.name}: {report}")
        self.model = model.to(device).eval()
        if shape != model.config.grid_shape:
            raise InputError(
                f"{reference.folder}: frames of {shape} voxels; model_config.json is for {model.config.grid_shape}"
            )

    def go(self) -> list[Deviation]:
        parts = {
            "outputs_vae.npz": self.vae,
            "outputs_teacher_forced.npz": self.teacher_forced,
            "outputs_autoregressive.npz": self.autoregressive,
            "train_vae_grads.pt": self.vae_training,
            "train_worldmodel_grads.pt": self.transformer_training,
        }
        for name in parts:  # a damaged file is told before minutes of work
            if self.reference.has(name) and name.endswith(".npz"):
                self.reference.arrays(name)
        self.tell("encoding the frames")
        occupancy = self.inputs["occ_structured"]
        z, self.indices, self.margin = run.encode(self.model, occupancy.flatten(0, 1))
        self.z = z
        for name, part in parts.items():
            if self.reference.has(name):
                self.tell(name)
                part(name)
            else:
                self.tell(f"{name}: not in this set, left out")
        if not self.comparison.rows:
            raise InputError(f"{self.reference.folder}: records no outputs; nothing was compared")
        return self.comparison.rows

    def vae(self, name: str) -> None:
        recorded = self.reference.arrays(name)
        cases = {"struct": self.inputs["occ_structured"], "random": self.inputs.get("occ_random")}
        for case, occupancy in cases.items():
            own = {k.removeprefix(f"vae_{case}_"): v for k, v in recorded.items() if k.startswith(f"vae_{case}_")}
            if not own or occupancy is None:
                continue
            self.tell(f"  {case}")
            b = occupancy.shape[0]
            occupancy = occupancy[:, : own["z"].shape[0] // b]
            z, indices, margin = run.encode(self.model, occupancy.flatten(0, 1))
            self.comparison.labels(f"vae_{case}_indices", indices, own["indices"], self.lead(own, margin), CODE_TIE)
            indices = settled(indices, self.on_device(own["indices"]), margin, CODE_TIE)
            self.vae_case(f"vae_{case}_", own, run.vae_outputs(self.model, occupancy, z, indices))

    def vae_case(self, prefix: str, recorded: dict[str, Recorded], outputs: dict[str, Tensor]) -> None:
        for key, value in outputs.items():
            if key in recorded and key == "shapes":
                self.comparison.counts(prefix + key, value.numpy(), recorded[key])
            elif key in recorded:
                self.comparison.values(prefix + key, value, recorded[key])
        self.decisions(prefix, recorded, outputs["logits"])

    def lead(self, recorded: dict[str, Recorded], own: Tensor) -> Tensor:
        """The recorded margins where they are whole, else ours."""
        margin = recorded.get("index_margin")
        return own if margin is None or margin.at is not None else self.on_device(margin).reshape(own.shape)

    def decisions(self, prefix: str, recorded: dict[str, Recorded], logits: Tensor) -> None:
        """The class of every voxel, and whether it is occupied."""
        best, lead = run.classes(logits)
        tie = 2 * (limit_of(recorded["logits"].values) if "logits" in recorded else TOLERANCE)
        if "sem_pred" in recorded:
            self.comparison.labels(prefix + "sem_pred", best, recorded["sem_pred"], lead, tie)
        if "iou_pred" in recorded:
            self.comparison.labels(prefix + "iou_pred", run.occupied(best), recorded["iou_pred"], lead, tie)

    def on_device(self, recorded: Recorded) -> Tensor:
        values = torch.from_numpy(recorded.whole).to(self.device)
        return values if values.is_floating_point() else values.long()

    def settle(self, recorded: Tensor, frames: slice | Tensor) -> None:
        """Take recorded codes of some frames (positions in B·F) where ours are ties."""
        self.indices[frames] = settled(self.indices[frames], recorded, self.margin[frames], CODE_TIE)

    def settle_first_frames(self) -> None:
        """The first frame's codes are recorded with the VAE's outputs alone."""
        if self.reference.has("outputs_vae.npz"):
            first = self.reference.arrays("outputs_vae.npz").get("vae_struct_indices")
            if first is not None and first.at is None:
                b, f = self.inputs["occ_structured"].shape[:2]
                n = first.shape[0] // b
                rows = torch.arange(b * f, device=self.device).unflatten(0, (b, f))[:, :n].flatten()
                self.settle(self.on_device(first), rows)

    def teacher_forced(self, name: str) -> None:
        recorded = self.reference.arrays(name)
        b, f = self.inputs["occ_structured"].shape[:2]
        rows = torch.arange(b * f, device=self.device).unflatten(0, (b, f))[:, 1:].flatten()
        labels = recorded["tf_ce_labels"]
        self.comparison.labels("tf_ce_labels", self.indices[rows], labels, self.margin[rows], CODE_TIE)
        self.settle_first_frames()
        self.settle(self.on_device(labels), rows)
        out = run.teacher_forced(self.model, self.z, self.indices, self.inputs["rel_poses"], self.inputs["gt_mode"])
        for key, value in out.items():
            if key in recorded:
                self.comparison.values(key, value, recorded[key])
        prefix = {k.removeprefix("tf_"): v for k, v in recorded.items() if k.startswith("tf_")}
        if not {"logits", "sem_pred", "iou_pred"} & set(prefix):
            return
        logits, remark = decode_likeliest(
            self.model, out["tf_ce_inputs"], prefix.get("ce_inputs"), prefix.get("logits")
        )
        logits = logits.unflatten(0, (b, f - 1))
        if "logits" in prefix:
            self.comparison.values("tf_logits", logits, prefix["logits"], remark)
        self.decisions("tf_", prefix, logits)

    def autoregressive(self, name: str) -> None:
        recorded = self.reference.arrays(name)
        start, mid, end = (int(n) for n in recorded["ar_frames_start_mid_end_nin"].whole[:3])
        if start != 0:
            raise InputError(f"{name}: starts at frame {start}; the original's slices hold for 0 alone")
        b, f = self.inputs["occ_structured"].shape[:2]
        at = torch.arange(b * f, device=self.device).unflatten(0, (b, f))
        context, future = at[:, :mid].flatten(), at[:, mid:end].flatten()
        if "ar_ce_labels" in recorded:
            self.comparison.labels(
                "ar_ce_labels", self.indices[future], recorded["ar_ce_labels"], self.margin[future], CODE_TIE
            )
        self.settle_first_frames()
        zq = run.straight_through(self.model, self.z[context], self.indices[context]).unflatten(0, (b, mid))
        codes = self.on_device(recorded["ar_indices"])
        arguments = (self.model, zq, self.inputs["rel_poses"], self.inputs["gt_mode"], mid, end)
        out = run.rolled_out(*arguments, None, cached=True)
        remark = ""
        if not torch.equal(out["ar_indices"], codes):
            # A tie that rounding decides otherwise changes all later frames: feed what was recorded.
            out, remark = run.rolled_out(*arguments, codes, cached=True), "fed the recorded codes"
        tie = 2 * (limit_of(recorded["ar_ce_inputs"].values) if "ar_ce_inputs" in recorded else TOLERANCE)
        lead = out["ar_ce_inputs"].topk(2, 1).values
        self.comparison.labels("ar_indices", out["ar_indices"], recorded["ar_indices"], lead[:, 0] - lead[:, 1], tie)
        for key in ("ar_ce_inputs", "ar_pose_decoded", "ar_poses_fed_back"):
            if key in recorded:
                self.comparison.values(key, out[key], recorded[key], remark)
        self.tell("  the same without kept keys and values")
        plain = run.rolled_out(*arguments, codes, cached=False)
        for key in ("ar_ce_inputs", "ar_poses_fed_back"):  # `out` was fed the same codes, as its own or as recorded
            values = plain[key].cpu().numpy()
            self.comparison.values(f"{key} (plain and cached roll-out)", out[key], Recorded(values.shape, values))
        prefix = {k.removeprefix("ar_"): v for k, v in recorded.items() if k.startswith("ar_")}
        logits = run.decode(self.model, codes).unflatten(0, (b, end - mid))
        if "logits" in prefix:
            self.comparison.values("ar_logits", logits, prefix["logits"])
        self.decisions("ar_", prefix, logits)
        self.metric(recorded, mid, end)

    def metric(self, recorded: dict[str, Recorded], mid: int, end: int) -> None:
        """The metric's counts and scores, of the recorded classes and of the copied last frame."""
        truth = self.inputs["occ_structured"][:, :end].cpu().numpy()
        rows = {"copy": np.repeat(truth[:, mid - 1 : mid], end - mid, 1)}
        predicted = recorded.get("ar_sem_pred")
        if predicted is not None and predicted.at is None:
            rows["model"] = predicted.whole
        for row, classes in rows.items():
            if f"metric_{row}_miou" not in recorded:
                continue
            tables = [
                confusion(truth[:, mid + k], classes[:, k], np.ones(classes[:, k].shape, np.bool_))
                for k in range(end - mid)
            ]
            found = [scores(t) for t in tables]
            own = {
                "miou": [100 * s["miou_occworld"] for s in found],
                # The original gives a class that the truth lacks 1, and occupied is its only class here.
                "iou": [100 * float(s["iou"]) if t[:FREE].any() else 100.0 for s, t in zip(found, tables, strict=True)],
                "seen": [t.sum(1)[:FREE] for t in tables],
                "correct": [np.diagonal(t)[:FREE] for t in tables],
                "positive": [t.sum(0)[:FREE] for t in tables],
            }
            for key, values in own.items():
                name = f"metric_{row}_{key}"
                if name in recorded and key in ("miou", "iou"):
                    self.comparison.values(name, torch.tensor(values, dtype=torch.float64), recorded[name])
                elif name in recorded:
                    self.comparison.counts(name, np.array(values), recorded[name])

    def vae_training(self, name: str) -> None:
        occupancy = self.inputs["occ_structured"]
        b, f = occupancy.shape[:2]
        frames = 4
        if self.reference.has("outputs_vae.npz"):
            frames = self.reference.arrays("outputs_vae.npz")["vae_struct_z"].shape[0] // b
        self.settle_first_frames()
        codes = self.indices.unflatten(0, (b, f))[:, :frames].flatten(0, 1)
        self.gradients(name, lambda: run.vae_training(self.model, occupancy[:, :frames], codes))

    def transformer_training(self, name: str) -> None:
        b, f = self.inputs["occ_structured"].shape[:2]
        self.settle_first_frames()
        zq = run.straight_through(self.model, self.z, self.indices).unflatten(0, (b, f))
        labels = self.indices.unflatten(0, (b, f))[:, 1:].flatten(0, 1)
        self.gradients(
            name,
            lambda: run.transformer_training(self.model, zq, labels, self.inputs["rel_poses"], self.inputs["gt_mode"]),
        )

    def gradients(self, name: str, compute: Callable[[], tuple[dict[str, float], dict[str, Tensor]]]) -> None:
        stage, data = name.removesuffix("_grads.pt"), read_torch(self.reference.folder / name)
        recorded, grads = data.get("loss_dict"), data.get("grads")
        if not isinstance(grads, dict) or not grads:
            raise InputError(f"{self.reference.folder / name}: holds no gradients under 'grads'")
        self.model.save_memory()  # equal bits
        losses, own = compute()
        named = {**(recorded if isinstance(recorded, dict) else {}), "total": data.get("loss_total")}
        for key, value in named.items():
            if isinstance(value, (int, float)) and key in losses:
                self.comparison.values(f"{stage} {key}", losses[key], float(value))
        # None: the loss does not reach it. A file of stage 1 may leave the VAE's prefix out.
        grads = {k if k in own else f"vae.{k}": g for k, g in grads.items() if g is not None}
        own, remark = self.at_kinks(own, grads, lambda: compute()[1])
        self.comparison.gradients(f"{stage} d/d", own, grads, self.every_gradient, remark)

    def at_kinks(self, own: Gradients, recorded: Gradients, compute: Callable[[], Gradients]) -> tuple[Gradients, str]:
        """Our gradients, with the recorded choice at ReLUs of zero input where one is above the tolerance; a remark."""

        def within(gradients: Gradients) -> bool:
            rows = Comparison()
            rows.gradients("", gradients, recorded, every=True)
            return all(row.within for row in rows.rows)

        if within(own):
            return own, ""
        self.tell("  gradients above the tolerance: trying ReLUs whose input is zero within rounding")
        own, turned = settled_gradients(self.model, compute, own, recorded, within)
        return own, f"ReLUs at zero as recorded: {turned}" if turned else ""
