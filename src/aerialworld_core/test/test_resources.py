"""Installed data is found in each kind of installation, in the promised order."""

import sys
from pathlib import Path

import pytest

from aerialworld_core import resources
from aerialworld_core.errors import InputError

NAME = "aerialworld_description"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for variable in ("AMENT_PREFIX_PATH", "GZ_SIM_RESOURCE_PATH", f"AERIALWORLD_SHARE_{NAME.upper()}"):
        monkeypatch.delenv(variable, raising=False)


def share_with_model(folder: Path, model="rig_x") -> Path:
    (folder / model).mkdir(parents=True)
    (folder / model / "model.sdf").write_text("<sdf/>")
    return folder


def ament_prefix(prefix: Path) -> Path:
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / NAME).touch()
    return share_with_model(prefix / "share" / NAME)


def test_environment_override_comes_first(tmp_path, monkeypatch):
    folder = share_with_model(tmp_path / "mine")
    ament_prefix(tmp_path / "ament")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ament"))
    monkeypatch.setenv(f"AERIALWORLD_SHARE_{NAME.upper()}", str(folder))
    assert resources.share(NAME) == folder
    assert resources.model_path("rig_x") == folder / "rig_x" / "model.sdf"


def test_an_override_that_points_nowhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(f"AERIALWORLD_SHARE_{NAME.upper()}", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"AERIALWORLD_SHARE_AERIALWORLD_DESCRIPTION=.*gone"):
        resources.share(NAME)


def test_ament_index_comes_before_sys_prefix(tmp_path, monkeypatch):
    wanted = ament_prefix(tmp_path / "overlay")
    share_with_model(tmp_path / "prefix" / "share" / NAME)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'empty'}:{tmp_path / 'overlay'}")
    assert resources.share(NAME) == wanted


def test_an_ament_prefix_without_the_package_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "ros" / "share" / NAME).mkdir(parents=True)  # not in its index
    wanted = share_with_model(tmp_path / "prefix" / "share" / NAME)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ros"))
    assert resources.share(NAME) == wanted


def test_source_checkout_comes_last(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = resources.share(NAME)
    assert found.name == "models" and (found / "package.xml").is_file()
    assert resources.model_path("rig_drone").is_file()


def test_checkout_folders_are_known_by_their_manifest(tmp_path, monkeypatch):
    root = tmp_path / "checkout"
    module = root / "src" / "aerialworld_core" / "aerialworld_core" / "resources.py"
    module.parent.mkdir(parents=True)
    share_with_model(root / "models")
    (root / "models" / "package.xml").write_text("<package><name>another</name></package>")
    monkeypatch.setattr(resources, "__file__", str(module))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(InputError, match="install it or set AERIALWORLD_SHARE"):
        resources.share(NAME)
    (root / "models" / "package.xml").write_text(f"<package><name>{NAME}</name></package>")
    assert resources.share(NAME) == (root / "models").resolve()


def test_models_of_others_through_the_gazebo_path(tmp_path, monkeypatch):
    folder = share_with_model(tmp_path / "theirs", "their_drone")
    monkeypatch.setenv("GZ_SIM_RESOURCE_PATH", f"{tmp_path / 'none'}:{folder}")
    assert resources.model_path("their_drone") == folder / "their_drone" / "model.sdf"


def test_an_unknown_model_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("GZ_SIM_RESOURCE_PATH", str(tmp_path / "theirs"))
    with pytest.raises(InputError, match=r"model nobody: .*models.*theirs"):
        resources.model_path("nobody")


@pytest.mark.parametrize("name", ["../secret", "/etc", "a/b", "", "..", "a\x00"])
def test_names_that_are_paths_are_refused(name):
    with pytest.raises(InputError):
        resources.model_path(name)
    with pytest.raises(InputError):
        resources.share(name)
