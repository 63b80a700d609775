"""How long each step took, and how many frames per second were recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aerialworld_core.files import read_json

ORDER = ("city", "missions", "simulate", "validate", "train", "evaluate", "report")


def timing_table(folder: Path) -> dict[str, Any]:
    """From stages/*.json: steps in the order they run, the total, recorded frames and their rate."""
    records = [read_json(path) for path in folder.glob("*.json")] if folder.is_dir() else []
    records = [r for r in records if r.get("step") != "report"]
    records.sort(key=lambda r: (ORDER.index(r["step"].split("_")[0]), r["step"]))
    total = sum(r["seconds"] for r in records)
    simulated = [r for r in records if r["step"].startswith("simulate") and not r["resumed"]]
    frames = sum(
        r["figures"]["frames"] for r in records if "frames" in r["figures"] and r["step"].startswith("simulate")
    )
    timed = sum(r["figures"]["frames"] for r in simulated)
    seconds = sum(r["seconds"] for r in simulated)
    return {
        "steps": [
            {
                "title": r["title"] + (" (resumed)" if r["resumed"] else ""),
                "seconds": f"{r['seconds']:.1f}",
                "cpu": f"{r['cpu_seconds']:.1f}",
                "rate": f"{r['figures']['frames'] / r['seconds']:.2f}"
                if r["step"].startswith("simulate") and not r["resumed"]
                else "",
                "share": f"{100 * r['seconds'] / total:.1f}" if total else "0",
            }
            for r in records
        ],
        "total": f"{total:.1f}",
        "total_text": f"{int(total // 60)} min {int(total % 60)} s" if total >= 60 else f"{total:.0f} s",
        "frames": frames,
        "rate": timed / seconds if seconds else 0.0,
    }
