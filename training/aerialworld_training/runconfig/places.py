"""A config without where its run happened to lie: what two runs of the same settings and data have in common."""

from __future__ import annotations

import yaml

from aerialworld_training.runconfig.typed import read_table

#: Keys that name files and folders, or say how often something is written or told.
PLACES = ("work_dir", "data.root", "data.concat", "data.split_file", "checkpoint", "log")


def without_places(text: str, source: str) -> str:
    """A resolved config, YAML text, without `PLACES`. Raises InputError where the text is no table."""
    config = read_table(text, source)
    for place in PLACES:
        table, _, key = place.rpartition(".")
        (config.get(table, {}) if table else config).pop(key, None)
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
