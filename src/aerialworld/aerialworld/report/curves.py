"""Training curves, from what a training writes."""

from __future__ import annotations

import json
from pathlib import Path

#: Panel → (stage, value) → line. A run's stages are vqvae, adapt and occworld; the demo's small model's vae and
#: transformer.
CURVES = {
    "VAE: loss": {(stage, "loss"): "training" for stage in ("vae", "vqvae", "adapt")},
    "VAE: IoU of the reconstruction": {
        ("vae", "val_reconstruction_iou"): "validation",
        ("vqvae", "val_iou"): "validation",
        ("adapt", "val_iou"): "validation",
    },
    "Transformer: cross-entropy": {
        (stage, key): line
        for stage in ("transformer", "occworld")
        for key, line in (("ce", "training"), ("val_ce", "validation"))
    },
    "Transformer: codes right": {(stage, "val_code_accuracy"): "validation" for stage in ("transformer", "occworld")},
    "Forecast: IoU": {("occworld", "val_iou"): "validation"},
}


def read_curves(work_dir: Path) -> dict[str, dict[str, list[list[float]]]]:
    """From metrics.jsonl, of `work_dir` or of each stage in a folder of its own: panel → line → [[step, value], …];
    empty when there is no training."""
    files = [work_dir / "metrics.jsonl", *sorted(work_dir.glob("*/metrics.jsonl"))]
    lines = [line for path in files if path.is_file() for line in path.read_text(encoding="utf-8").splitlines()]
    entries = [json.loads(line) for line in lines if line]

    def curve(stage: str, key: str) -> list[list[float]]:
        own = [e for e in entries if e["stage"] == stage and key in e]
        return [[float(e["step"] if "step" in e else e["run_step"]), float(e[key])] for e in own]

    curves: dict[str, dict[str, list[list[float]]]] = {}
    for title, wanted in CURVES.items():
        panel: dict[str, list[list[float]]] = {}
        for (stage, key), label in wanted.items():
            found = curve(stage, key)
            if found:
                panel[label if label not in panel else f"{label}, {stage}"] = found
        if panel:
            curves[title] = panel
    return curves
