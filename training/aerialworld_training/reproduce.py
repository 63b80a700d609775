"""The same table again: an evaluation's inputs are compared by their hashes, and its evaluation.json byte by byte.

python -m aerialworld_training.reproduce evaluation/ --sessions DIR --work-dir DIR|FILE.pth
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import make_folder, read_json, write_json
from aerialworld_core.session import pack
from aerialworld_training.evaluate import evaluate
from aerialworld_training.logbook import Progress
from aerialworld_training.made_from import differences, listed, weights_hash
from aerialworld_training.seeds import read_evaluation
from aerialworld_training.trained import load_trained

PROVENANCE = "provenance.json"


class NotReproducedError(AerialWorldError):
    """The inputs are others, or another table came out."""

    exit_code = 1


@dataclass(frozen=True)
class Inputs:
    """Where the inputs lie on this machine; None: as provenance.json beside the table says."""

    sessions: Path | None = None
    work_dir: Path | None = None
    world: Path | None = None


def reproduce(
    table: Path, out: Path, inputs: Inputs | None = None, progress: Callable[[str, float], None] | None = None
) -> Path:
    """Make the table of an evaluation again, in `out`; returns the new evaluation.json, which has the same bytes.

    table  evaluation.json or its folder

    Raises InputError for a table that tells no inputs or inputs that are absent, NotReproducedError with a list of
    differences when inputs have other hashes (before anything is computed) or another table comes out.
    """
    path = table / "evaluation.json" if table.is_dir() else table
    before = read_evaluation(path)
    made = before.get("made_from")
    if not isinstance(made, dict) or not {"model", "split", "sessions", "settings"} <= set(made):
        raise InputError(f"{path}: does not say what it was made from; evaluate again")
    if out.resolve() == path.parent.resolve():
        raise InputError(f"{out}: holds the table that is to be compared; give another --out")
    sessions, work_dir, world = _places(path, inputs or Inputs(), bool(made["settings"].get("full")))
    found = differences(made["model"]["weights_sha256"], weights_hash(load_trained(work_dir)), "model.weights_sha256")
    for name, session in made["sessions"].items():
        folder = sessions / name
        if not folder.is_dir():
            found.append(f"sessions.{name}: is not in {sessions}")
            continue
        found += differences(session["content_sha256"], pack.content_key(folder), f"sessions.{name}.content_sha256")
    if found:
        raise NotReproducedError(f"{path}: the inputs are not those of the table:\n{listed(found)}")
    make_folder(out)
    split = out / "split.json"
    write_json(split, made["split"])
    settings = made["settings"]
    evaluate(
        sessions, split, work_dir, out, settings["split_name"], progress, world=world,
        max_windows=settings["max_windows"], saved_windows=settings["saved_windows"], threads=settings["threads"],
        device=settings.get("device", "cpu"),
    )  # fmt: skip
    again = out / "evaluation.json"
    if again.read_bytes() != path.read_bytes():
        lines = differences(before, read_evaluation(again)) or ["the numbers agree; their bytes do not"]
        raise NotReproducedError(f"{again}: {len(lines)} differences from {path}:\n{listed(lines)}")
    return again


def _places(path: Path, inputs: Inputs, full: bool) -> tuple[Path, Path, Path | None]:
    """Sessions, model and world on this machine. Raises InputError for one that nothing tells."""
    told: dict[str, Any] = {}
    record = path.parent / PROVENANCE
    if record.is_file():
        try:
            told = read_json(record)
        except (OSError, ValueError) as error:
            raise InputError(f"{record}: cannot be read: {error}") from error
    found: list[Path | None] = []
    for name in ("sessions", "work_dir", "world"):
        given = getattr(inputs, name) or told.get(name)
        if name == "world" and not full:
            found.append(None)
            continue
        if not given or not Path(given).exists():
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{path}: {given or 'nothing'} is no place of its {name}; give {option}")
        found.append(Path(given))
    sessions, work_dir, world = found
    assert sessions is not None and work_dir is not None, "checked above"
    return sessions, work_dir, world


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerialworld_training.reproduce",
        description=__doc__.split("\n")[0],
        epilog="Exit code 0: the same bytes; 1: other inputs or another table, with a list; 2: unusable input.",
    )
    parser.add_argument("table", type=Path, help="evaluation.json or its folder")
    parser.add_argument("--sessions", type=Path, help="where the sessions are now")
    parser.add_argument("--work-dir", type=Path, help="where the model is now: checkpoint or training folder")
    parser.add_argument("--world", type=Path, help="where the world is now, for full truth")
    parser.add_argument("--out", type=Path, help="for the new table; default: FOLDER/reproduced")
    options = parser.parse_args(arguments)
    bar = Progress("reproduction")
    folder = options.table if options.table.is_dir() else options.table.parent
    try:
        inputs = Inputs(options.sessions, options.work_dir, options.world)
        again = reproduce(options.table, options.out or folder / "reproduced", inputs, bar)
    except AerialWorldError as error:
        bar.close()
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        bar.close()
    print(f"{again}: the same bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
