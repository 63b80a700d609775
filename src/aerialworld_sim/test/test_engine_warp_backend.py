"""The warp backend as a part: repeatable, choosy about its input, and clear about what is missing."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_core.world.scene import Scene
from aerialworld_sim import warp_runtime
from aerialworld_sim.backend import make_backend
from aerialworld_sim.embree import EngineError
from aerialworld_sim.render_scene import RenderScene
from aerialworld_sim.warp_backend import WarpBackend

sys.path.insert(0, str(Path(__file__).parent))
from warp_reference import SUN, SUNLESS, body, city_block, depth_job, level, on_devices, picture_job, scan_job

pytest.importorskip("warp", reason='the warp backend is an extra: pip install "aerialworld_sim[gpu]"')


@on_devices
def test_equal_scenes_give_equal_bytes(world, new_world, device):
    """Whatever was rendered before, and wherever the movers have been."""
    city_block(world)
    spec = CameraSpec("c", Pose.identity(), 96, 64, np.deg2rad(80), 0.1, 200.0, 10)
    pose = Pose.from_rpy(-38, -4, 16, 0, 0.45, 0.1)
    results = []
    for detour in (False, True):
        scene = RenderScene(world.scene, SUN, [body(new_world, f"car{i}", (4, 2, 3)) for i in range(6)])
        backend = WarpBackend(scene, device=device)
        if detour:
            for step in range(3):
                scene.place({f"car{i}": Pose.from_rpy(9 * i, step, 40) if i != step else None for i in range(6)})
                backend.moved()
                backend.render([picture_job(spec, pose), depth_job(spec, pose)])
        scene.place({f"car{i}": Pose.from_rpy(4 * i - 20, 3 * i - 9, 1.5, 0, 0, i) for i in range(6)})
        backend.moved()
        jobs = [picture_job(spec, pose), depth_job(spec, pose), scan_job(np.eye(3), [pose])]
        backend.render(jobs)
        again = [picture_job(spec, pose), depth_job(spec, pose), scan_job(np.eye(3), [pose])]
        backend.render(again)
        results += [jobs, again]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            for name in ("rgb", "depth", "semantic", "instance", "distance", "cosine", "face"):
                if hasattr(a, name):
                    assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name


@on_devices
def test_what_is_not_wanted_is_left_out(world, device):
    city_block(world)
    backend = WarpBackend(RenderScene(world.scene, SUN), device=device)
    spec = CameraSpec("c", Pose.identity(), 33, 21, np.deg2rad(80), 0.1, 200.0, 10)  # no multiple of a block
    pose = Pose.from_rpy(-38, -4, 16, 0, 0.45, 0.1)
    whole, colour, truth, depth = (picture_job(spec, pose) for _ in range(4))
    colour.depth = colour.semantic = colour.instance = None
    truth.rgb = None
    depth.rgb = depth.semantic = depth.instance = None
    backend.render([whole, colour, truth, depth])
    assert (colour.rgb == whole.rgb).all() and (truth.instance == whole.instance).all()
    assert (truth.semantic == whole.semantic).all() and (depth.depth == whole.depth).all()
    bare = depth_job(spec, pose)
    bare.instance = None
    backend.render([bare])
    assert np.isfinite(bare.depth).any() and bare.semantic.any()


@on_devices
def test_a_world_without_a_triangle_is_all_sky(world, device):
    backend = WarpBackend(RenderScene(world.scene, SUNLESS), device=device)
    job = picture_job(CameraSpec("c", Pose.identity(), 8, 8, 1.0, 0.1, 9.0, 10), Pose.identity())
    scan, none = scan_job(np.eye(3)), scan_job(np.zeros((0, 3)))
    backend.render([job, scan, none])
    assert np.abs(job.rgb - level(SUNLESS.background)).max() < 1.0
    assert np.isposinf(scan.distance).all() and (scan.face == -1).all() and not scan.cosine.any()


@on_devices
def test_jobs_whose_arrays_do_not_fit_are_refused(world, device):
    backend = WarpBackend(RenderScene(world.scene, SUNLESS), device=device)
    spec = CameraSpec("c", Pose.identity(), 8, 6, 1.0, 0.1, 9.0, 10)
    turned = picture_job(spec, Pose.identity())
    turned.rgb = np.empty((8, 6, 3), np.uint8)
    table = np.zeros((6, 7), np.float32)
    narrow = picture_job(spec, Pose.identity(), rays=(table, table))
    double = scan_job(np.eye(3))
    double.distance = np.empty(3)
    wild = scan_job(np.eye(3), pose_of=np.array([0, 1, 0], np.int32))
    for job, named in ((turned, "picture"), (narrow, "rays"), (double, "distance"), (wild, "pose_of")):
        with pytest.raises(InputError, match=named):
            backend.render([job])


def test_it_is_chosen_by_name_and_names_itself(world):
    backend = make_backend("warp", RenderScene(world.scene, SUNLESS))
    version = importlib.metadata.version("warp-lang")
    assert backend.name.startswith(f"warp {version}, ")
    assert WarpBackend(RenderScene(world.scene, SUNLESS), device="cpu").name == f"warp {version}, cpu"
    with pytest.raises(EngineError, match="cuda:7"):
        WarpBackend(RenderScene(world.scene, SUNLESS), device="cuda:7")


@pytest.mark.parametrize(("version", "message"), [(None, "gpu"), ("1.5.1", r"1\.5\.1.*1\.19"), ("2.0.0", r"2\.0\.0")])
def test_a_missing_or_foreign_warp_says_what_to_install(monkeypatch, version, message):
    def stated(name):
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(warp_runtime.metadata, "version", stated)
    monkeypatch.setattr(warp_runtime, "driver_devices", lambda: 1)
    assert not warp_runtime.cuda_available()
    with pytest.raises(EngineError, match=message) as caught:
        warp_runtime.load.__wrapped__()
    assert 'pip install "aerialworld_sim[gpu]"' in str(caught.value)


def test_a_gpu_that_warp_cannot_use_is_not_passed_over(monkeypatch):
    """A driver that is too old for warp's wheels must not end in pictures from one slow thread."""
    monkeypatch.setattr(warp_runtime, "driver_devices", lambda: 1)
    monkeypatch.setattr(warp_runtime.load(), "is_cuda_available", lambda: False)
    with pytest.raises(EngineError, match="R580"):
        warp_runtime.choose_device(None)


def test_asking_for_a_gpu_is_silent_and_loads_nothing_without_a_driver():
    code = (
        "import sys\nfrom aerialworld_sim.warp_backend import cuda_available\n"
        "found = cuda_available()\nassert found or 'warp' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_kernels_are_cached_where_nobody_else_writes(tmp_path):
    """In a folder of mode 0700; in one that goes with the process where that cannot be had."""
    code = "from aerialworld_sim import warp_runtime as r; print(r.load().config.kernel_cache_dir)"

    def folder_of(cache: Path) -> Path:
        environment = {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": ":".join(sys.path), "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return Path(done.stdout.strip())

    kept = folder_of(tmp_path)
    assert kept.parent == tmp_path / "aerialworld" / "warp" and kept.parent.stat().st_mode & 0o777 == 0o700
    kept.parent.chmod(0o777)
    passing = folder_of(tmp_path)
    assert tmp_path not in passing.parents and not passing.exists()


def test_scenes_are_checked_before_they_reach_the_device(world):
    """Kernels look corners and colours up unchecked: a face that names a vertex that is not there is refused."""
    world.ground_plane()
    s = world.scene
    faces = s.faces.copy()
    faces[0, 0] = 99
    bad = Scene(s.vertices, faces, s.face_class, s.face_instance, s.face_material, s.uv, s.normals, s.materials)
    with pytest.raises(InputError, match="vertex"):
        RenderScene(bad, SUNLESS)
