"""Several evaluations of one protocol, as mean and spread: runs that differ in nothing but their seed.

python -m aerialworld_training.seeds a/evaluation.json b/evaluation.json c/evaluation.json --out table.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import read_json, write_json

#: What must be equal in all of them.
SAME = ("schema_version", "split", "sessions", "model", "horizons_s", "grid", "windows", "protocol")
#: So many seeds a claim needs.
ENOUGH = 3
LIMIT = 64 * 1024 * 1024


def read_evaluation(path: Path) -> dict[str, Any]:
    """An evaluation.json. Raises InputError for what is none."""
    try:
        data = read_json(path, limit=LIMIT)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable evaluation: {error}") from error
    if not isinstance(data, dict) or not {"rows", "horizons_s", *SAME} <= set(data):
        raise InputError(f"{path}: is no evaluation.json of this version; evaluate again")
    return data


def over_seeds(paths: Sequence[Path]) -> dict[str, Any]:
    """Mean, standard deviation (of the sample) and values of every row's IoU by horizon and stratum.

    Raises InputError for fewer than two, for evaluations that differ in more than their model's weights, and for one
    that is given twice.
    """
    if len(paths) < 2:
        raise InputError("means over seeds need at least two evaluations")
    found = [read_evaluation(p) for p in paths]
    first = found[0]
    for path, other in zip(paths[1:], found[1:], strict=True):
        for key in SAME:
            if other[key] != first[key]:
                raise InputError(f"{path}: {key} differs from {paths[0]}: these are not seeds of one experiment")
        if list(other["rows"]) != list(first["rows"]):
            raise InputError(f"{path}: has other rows than {paths[0]}")
    weights = [e.get("made_from", {}).get("model", {}).get("weights_sha256") for e in found]
    if None not in weights and len(set(weights)) < len(weights):
        raise InputError("the same weights were evaluated twice; a seed counts once")
    rows = {
        name: {
            "label": row["label"],
            "horizons": [
                {
                    "t": h["t"],
                    "strata": {
                        s: _spread([e["rows"][name]["horizons"][k]["strata"][s]["iou"] for e in found])
                        for s in h["strata"]
                    },
                }
                for k, h in enumerate(row["horizons"])
            ],
        }
        for name, row in first["rows"].items()
    }
    return {"seeds": len(found), "enough": len(found) >= ENOUGH, "weights_sha256": weights, "rows": rows}


def _spread(values: list[float | None]) -> dict[str, Any]:
    known = [v for v in values if v is not None]
    whole = len(known) == len(values)
    return {
        "mean": float(np.mean(known)) if whole else None,
        "std": float(np.std(known, ddof=1)) if whole else None,
        "values": values,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aerialworld_training.seeds", description=__doc__.split("\n")[0])
    parser.add_argument("evaluations", type=Path, nargs="+", help="evaluation.json of each seed")
    parser.add_argument("--out", type=Path, help="write the whole table here")
    options = parser.parse_args(arguments)
    try:
        table = over_seeds(options.evaluations)
        if options.out:
            write_json(options.out, table)
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if not table["enough"]:
        print(f"{table['seeds']} seeds: a claim needs {ENOUGH}", file=sys.stderr)
    width = max(len(row["label"]) for row in table["rows"].values())
    for row in table["rows"].values():
        cells = [h["strata"]["all"] for h in row["horizons"]]
        print(
            row["label"].ljust(width),
            *(
                f"{100 * c['mean']:6.1f} ± {100 * c['std']:3.1f}" if c["mean"] is not None else "       –"
                for c in cells
            ),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
