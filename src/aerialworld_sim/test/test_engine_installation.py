"""What happens when Embree is missing or wrong, and where compiled kernels may be cached."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aerialworld_core.kernels.store import private_folder
from aerialworld_sim import embree
from aerialworld_sim.embree import Device, EngineError


def test_this_machine_has_a_usable_embree():
    device = Device()
    assert device.lanes in (4, 8, 16) and device.version.startswith("4.")


def test_a_library_of_another_version_is_refused(monkeypatch):
    """As seen through the device's own version property."""

    class Old:
        def __getattr__(self, name):
            return getattr(real, name)

        def rtcGetDeviceProperty(self, handle, prop):
            return 31_305 if prop == 0 else real.rtcGetDeviceProperty(handle, prop)

    real = embree.library()
    monkeypatch.setattr(embree, "library", Old)
    with pytest.raises(EngineError, match=r"not 4\.4 or a later"):
        Device()


def test_a_wheel_without_its_library_says_what_to_install(monkeypatch, tmp_path):
    class Bare:
        version = "4.4.0"

        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(embree.metadata, "distribution", lambda name: Bare())
    with pytest.raises(EngineError, match="pip install"):
        embree.library.__wrapped__()


def test_a_missing_wheel_says_what_to_install(monkeypatch):
    def absent(name):
        raise embree.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(embree.metadata, "distribution", absent)
    with pytest.raises(EngineError, match="pip install"):
        embree.library.__wrapped__()


def test_kernels_are_cached_only_where_nobody_else_writes(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = private_folder("kernels")
    assert folder is not None and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert private_folder("kernels") is None
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert private_folder("kernels") is None


def test_importing_the_package_does_not_load_the_engine():
    code = (
        "import sys, aerialworld_sim; assert not {'llvmlite', 'numba', 'rclpy'} & set(sys.modules), list(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_a_start_does_without_numba():
    """It takes a second to import and half a minute to compile what a first picture needs."""
    code = """
import sys
from pathlib import Path
from aerialworld_core.frames import Pose
from aerialworld_core.world import load_rig, load_world
from aerialworld_sim import Engine, Static, Vehicle

world, rig = load_world(Path(sys.argv[1])), load_rig("rig_small")
engine = Engine(world, {"drone_1": Vehicle(rig, Static(Pose.from_rpy(0.0, 0.0, 60.0, 0.0, 0.0, 0.0)))})
assert engine.render("drone_1").images
assert not {"numba", "trimesh", "pyproj", "torch"} & set(sys.modules), sorted(sys.modules)
"""
    city = Path(__file__).parents[3] / "worlds" / "small_city"
    subprocess.run([sys.executable, "-c", code, str(city)], check=True, env=dict(os.environ))
