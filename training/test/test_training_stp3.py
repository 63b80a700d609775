"""Whose sessions the guides' scripts score: what is given, what a config names, what lies beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from aerialworld_core.errors import InputError
from aerialworld_training.stp3 import data_of


def test_what_is_given_goes_before_what_the_config_names(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root, other):
        folder.mkdir()
    config = tmp_path / "own.py"
    config.write_text(f"_base_ = 'fast.py'\ndata_root = {str(root)!r}\n")
    given = tmp_path / "given.json"
    given.touch()
    # The config's data have no split file, which matters to nobody who gives one.
    assert data_of(tmp_path, str(config), split=given) == (root, given)
    assert data_of(tmp_path, str(config), other, given) == (other, given)
    with pytest.raises(InputError, match=r"other/split\.json: no such split file; give --split"):
        data_of(tmp_path, str(config), other)
    (other / "split.json").touch()
    assert data_of(tmp_path, str(config), other) == (other, other / "split.json")
    config.write_text(config.read_text() + f"data = dict(split_file={str(given)!r})\n")
    assert data_of(tmp_path, str(config), other) == (other, given)
