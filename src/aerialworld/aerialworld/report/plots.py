"""An evaluation as a picture: IoU over the horizon, a panel for each stratum, a line for each row,
the model's above the rest and strong."""

from __future__ import annotations

import io
from typing import Any

from aerialworld.report.metrics import stratum_name
from aerialworld.report.tables import CEILING, MODEL

COLUMNS = 3


def score_plots(evaluation: dict[str, Any]) -> bytes:
    """PNG. A stratum in which no forecast is scored has no panel; the model's 95 % intervals are shaded where they
    are known. Equal evaluations give equal bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    rows: dict[str, dict[str, Any]] = evaluation["rows"]
    forecasts = [row for name, row in rows.items() if name != CEILING]
    strata = [s for s in evaluation["strata"] if any(_line(row, s) for row in forecasts)]
    lines = -(-len(strata) // COLUMNS)
    with matplotlib.rc_context({"font.size": 9, "axes.prop_cycle": matplotlib.rcParamsDefault["axes.prop_cycle"]}):
        figure = Figure(figsize=(4.2 * COLUMNS, 3.0 * lines + 1.6), dpi=110)
        panels = figure.subplots(max(lines, 1), COLUMNS, squeeze=False, sharey=True).flatten()
        colours = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
        handles = {}
        for axes, stratum in zip(panels, strata, strict=False):
            for k, (name, row) in enumerate(rows.items()):
                points = _line(row, stratum)
                if not points:
                    continue
                own = name.startswith(MODEL)
                colour = colours[(2 * k) % 20 + (2 * k) // 20]
                handles[row["label"]] = axes.plot(
                    [t for t, _, _ in points], [100 * v for _, v, _ in points], color=colour, marker="o", markersize=3,
                    linewidth=2.2 if own else 1.1, linestyle="-" if own else "--", zorder=3 if own else 2,
                )[0]  # fmt: skip
                known = [(t, *interval) for t, _, interval in points if interval]
                if own and known:
                    axes.fill_between(
                        [t for t, _, _ in known], [100 * a for _, a, _ in known], [100 * b for _, _, b in known],
                        color=colour, alpha=0.15, linewidth=0,
                    )  # fmt: skip
            axes.set_title(stratum_name(stratum), fontsize=10)
            axes.set_xlabel("seconds ahead")
            axes.set_ylabel("IoU, %")
            axes.set_ylim(0, 100)
            axes.grid(alpha=0.25)
        for axes in panels[len(strata) :]:
            axes.set_axis_off()
        figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=3, frameon=False, fontsize=8)
        figure.tight_layout(rect=(0, 1.4 / (3.0 * lines + 1.6), 1, 1))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _line(row: dict[str, Any], stratum: str) -> list[tuple[float, float, list[float] | None]]:
    """(seconds, IoU, interval) of a row at the horizons where the stratum holds anything."""
    found = [(h["t"], h["strata"][stratum]) for h in row["horizons"] if stratum in h["strata"]]
    return [(t, s["iou"], s.get("iou_95")) for t, s in found if s["iou"] is not None]
