"""What the benchmarks have in common: the option --json and what is told, medians of calls, the city made for want of a
world. Its name begins with _, for it is none itself."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write the figures here as well")


def tell(figures: dict[str, Any], file: Path | None) -> None:
    """Print the figures, and write them to the file of --json where it is given."""
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    print(text)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")


def timed(call: Callable[[int], Any], repeats: int) -> dict[str, float]:
    """Median wall and CPU seconds (all threads) of `call(index)`."""
    wall, cpu = [], []
    for index in range(repeats):
        a, b = time.perf_counter(), time.process_time()
        call(index)
        wall.append(time.perf_counter() - a)
        cpu.append(time.process_time() - b)
    return {"wall_s": round(statistics.median(wall), 5), "cpu_s": round(statistics.median(cpu), 5)}


@contextmanager
def world_or_made(world: Path | None) -> Iterator[Path]:
    """The given world's folder, or that of the city which the project generates, converted here."""
    if world is not None:
        yield world
        return
    from aerialworld_city.convert import convert
    from aerialworld_city.options import ConversionOptions
    from aerialworld_city.synthetic.generate import generate_city

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "world"
        convert(generate_city(Path(folder) / "city", 0), made, ConversionOptions(preview=False, keep_tiles=False))
        yield made
