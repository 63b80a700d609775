"""The same worlds as recorded from Gazebo: depth, LiDAR, colours, and a real tile's depth and labels."""

import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, maximum_filter, minimum_filter

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CUBE_FACES, CameraSpec, ImuSpec, LidarSpec, Rig
from aerialworld_core.world import load_world
from aerialworld_core.world.scene import Light, Material, Scene
from aerialworld_sim import Engine, Static, Vehicle


def rig_of(reference, prefix, k) -> tuple[Rig, Pose]:
    cameras = []
    for file in sorted(reference.glob(f"{prefix}_cam_*.npz")):
        with np.load(file, allow_pickle=False) as z:
            name, pose = file.stem.removeprefix(f"{prefix}_"), Pose.from_rpy(*z["sensor_in_rig_xyzrpy"])
            cameras.append(CameraSpec(name, pose, 1600, 900, float(z["hfov"]), 0.1, 300, 10))
    with np.load(reference / f"pose{k}_depth_front.npz", allow_pickle=False) as z:
        rig_pose = Pose.from_rpy(*z["rig_pose_xyzrpy"])
        pose = Pose.from_rpy(*z["sensor_in_rig_xyzrpy"])
        depth = CameraSpec("front", pose, 800, 450, float(z["hfov"]), 0.1, 80, 10)
    with np.load(reference / f"pose{k}_lidar_top.npz", allow_pickle=False) as z:
        lidar = LidarSpec(
            "lidar_top",
            Pose.from_rpy(*z["sensor_in_rig_xyzrpy"]),
            1024,
            *(float(z["azimuth"][i]) for i in (0, -1)),
            32,
            *(float(z["elevation"][i]) for i in (0, -1)),
            0.3,
            120.0,
            10,
        )
    imu = ImuSpec("imu", Pose.from_rpy(0, 0, 0.5), 100.0)
    return Rig("reference", tuple(cameras), (depth,), lidar, imu), rig_pose


def world_of(reference, name, folder):
    """The recorded world; its mesh path is made relative, as the world reader wants it."""
    shutil.copytree(reference / "meshes", folder / "meshes", dirs_exist_ok=True)
    file = folder / f"{name}.sdf"
    file.write_text((reference / f"{name}.sdf").read_text().replace("file://meshes", "meshes"))
    return load_world(file)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_depth_lidar_imu_and_colours_of_the_reference_world(shared, tmp_path, k):
    reference = shared / "reference/gazebo"
    world = world_of(reference, f"world_pose{k}", tmp_path)
    rig, pose = rig_of(reference, f"pose{k}", k)
    engine = Engine(world, {"v": Vehicle(rig, Static(pose))}, lidar_sampling="gazebo")
    frame = engine.render("v", modalities={"depth", "lidar", "imu"})

    with np.load(reference / f"pose{k}_depth_front.npz", allow_pickle=False) as z:
        true = z["depth"]
    got = frame.depth["front"]
    both = np.isfinite(true) & np.isfinite(got)
    error = np.abs(true[both] - got[both])
    assert np.median(error) <= 2e-4 and (error > 0.05).mean() <= 5e-4
    assert (np.isfinite(true) != np.isfinite(got)).sum() <= 10
    assert (np.isposinf(true) == np.isposinf(got)).mean() > 0.9999

    with np.load(reference / f"pose{k}_lidar_top.npz", allow_pickle=False) as z:
        ranges, intensities, azimuth = z["ranges"], z["intensities"], z["azimuth"]
    column = np.round((np.arctan2(frame.lidar[:, 1], frame.lidar[:, 0]) - azimuth[0]) / (azimuth[1] - azimuth[0]))
    column = column.astype(int) % 1024
    mine = np.full((32, 1024), np.inf)
    mine[frame.lidar_ring, column] = np.linalg.norm(frame.lidar[:, :3].astype(float), axis=1)
    both = np.isfinite(mine) & np.isfinite(ranges)
    error = np.abs(mine[both] - ranges[both])
    assert np.median(error) <= 1e-4 and (error < 0.05).mean() >= 0.99
    assert (np.isfinite(mine) != np.isfinite(ranges)).mean() < 0.002
    same_surface = np.abs(mine[frame.lidar_ring, column] - ranges[frame.lidar_ring, column]) < 0.05
    gap = np.abs(frame.lidar[:, 3] - intensities[frame.lidar_ring, column])[same_surface]
    assert (gap < 0.05).mean() > 0.999  # Gazebo quantises to 16 bits of 2000

    with np.load(reference / f"pose{k}_imu.npz", allow_pickle=False) as z:
        assert np.allclose(frame.imu[-1, 4:7], z["lin_acc"][-1], atol=1e-6)
        assert np.allclose(frame.imu[-1, 1:4], z["ang_vel"][-1], atol=1e-6)

    # Face interiors: away from every edge in the picture, of instances and of faces.
    for spec in rig.cameras[::2]:
        with np.load(reference / f"pose{k}_{spec.name}.npz", allow_pickle=False) as z:
            true_rgb = z["rgb"].astype(int)
        truth = engine.render_camera("v", spec.name)
        flat = maximum_filter(truth.instance, 7) == minimum_filter(truth.instance, 7)
        edge = (maximum_filter(truth.rgb, (5, 5, 1)).astype(int) - minimum_filter(truth.rgb, (5, 5, 1))).max(-1) > 8
        inside = flat & ~edge
        difference = np.abs(truth.rgb.astype(int) - true_rgb).max(-1)[inside]
        assert inside.mean() > 0.9 and (difference > 10).mean() < 1e-4, spec.name
        assert np.percentile(difference, 99) <= 2, "the sun's light is Gazebo's"
        # Object masks: the sky and each object's interior agree, so pictures are not shifted or mirrored.
        sky = binary_erosion(truth.instance == 0, iterations=2)
        assert (true_rgb[sky] == [203, 218, 243]).all()


def test_shadows_fall_where_gazebo_throws_them(shared, tmp_path):
    reference = shared / "reference/gazebo"
    world = world_of(reference, "world_pose0_shadows", tmp_path)
    rig, pose = rig_of(reference, "pose0_shadows", 0)
    engine = Engine(world, {"v": Vehicle(rig, Static(pose))})
    with np.load(reference / "pose0_shadows_cam_front.npz", allow_pickle=False) as z:
        true = z["rgb"][..., 0].astype(int)
    truth = engine.render_camera("v", "cam_front")
    ground = binary_erosion(truth.instance == world.scene.instances.index("ground") + 1, iterations=3)
    mine, theirs = truth.rgb[..., 0][ground] < 100, true[ground] < 100
    assert 0.005 < theirs.mean() < 0.5
    assert (mine != theirs).mean() < 0.02, "shadow maps are blurred at their edges, no more"


def test_class_images_and_clipping_are_gazebos(shared, tmp_path):
    """Semantic labels pixel by pixel; a depth camera clipped at 5 and 20 m and a LiDAR between 6 and 20 m."""
    reference = shared / "reference/gazebo"
    text = (reference / "world_segmentation_nearfar.sdf").read_text().replace("file://meshes", "meshes")
    for theirs, ours in ((1, 11), (10, 1), (20, 2), (30, 3), (40, 4), (50, 5), (60, 6)):  # classes end at 17
        text = text.replace(f"<label>{theirs}</label>", f"<label> {ours} </label>")
    shutil.copytree(reference / "meshes", tmp_path / "meshes")
    (tmp_path / "world.sdf").write_text(text)
    world = load_world(tmp_path)
    hfov = 1.2217304764
    rig = Rig(
        "nearfar",
        (CameraSpec("seg", Pose.identity(), 800, 450, hfov, 0.1, 300, 10),),
        (CameraSpec("nf", Pose.identity(), 160, 90, hfov, 5.0, 20.0, 10),),
        LidarSpec("lidar", Pose.identity(), 360, -3.14159, 3.14159, 16, -0.4, 0.3, 6.0, 20.0, 10),
    )
    vehicle = Vehicle(rig, Static(Pose.from_rpy(0, 0, 1.6)))
    engine = Engine(world, {"v": vehicle}, lidar_sampling="gazebo")
    with np.load(reference / "segmentation_nearfar_pose_0_0_1.6.npz", allow_pickle=False) as z:
        labels, depth, ranges = z["seg_sem_labels_map"][..., 0], z["nf_depth"], z["nf_lidar"]
    mine = engine.render_camera("v", "seg").semantic
    back = np.array([0, 10, 20, 30, 40, 50, 60, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    assert (back[mine] != labels).mean() < 5e-4 and len(np.unique(labels)) >= 6
    frame = engine.render("v")
    got = frame.depth["nf"]
    assert np.isneginf(depth).any() and np.isposinf(depth).any()
    # Gazebo leaves out an object that lies wholly before the near plane (the pole, 4 m away) and shows what is behind
    # it; this engine says −inf there, as both do for the near part of the ground.
    wide = CameraSpec("wide", Pose.identity(), 160, 90, hfov, 0.1, 300.0, 10)
    whole = Engine(world, {"v": Vehicle(Rig("wide", (wide,), ()), vehicle.motion)}).render_camera("v", "wide")
    pole = whole.instance == world.scene.instances.index("pole") + 1
    assert np.isneginf(got[pole]).all() and 500 < pole.sum() < 1000
    for kind in (np.isneginf, np.isposinf, np.isfinite):
        assert (kind(depth) != kind(got))[~pole].sum() <= 5, kind
    both = np.isfinite(depth) & np.isfinite(got)
    assert np.median(np.abs(depth[both] - got[both])) < 2e-4
    returned = np.zeros((16, 360), bool)
    column = np.round((np.arctan2(frame.lidar[:, 1], frame.lidar[:, 0]) + 3.14159) / (2 * 3.14159 / 359)).astype(int)
    returned[frame.lidar_ring, column] = True
    assert (returned != np.isfinite(ranges)).mean() < 0.005


@dataclass
class Tile:
    scene: Scene
    light: Light

    def terrain_height(self, xy):
        return np.zeros(len(xy))


def read_soup(path):
    vertices, faces = [], []
    for line in path.read_bytes().splitlines():
        if line.startswith(b"v "):
            vertices.append(line.split()[1:4])
        elif line.startswith(b"f "):
            faces.append([int(w.split(b"/")[0]) - 1 for w in line.split()[1:4]])
    return np.array(vertices, float), np.array(faces)


def test_real_tile_depth_and_labels(shared):
    """87,000 triangles of set 06, read here directly: independent of the city and world readers."""
    source = shared / "data/plateau/06_obj_minato_roppongi_53393599/demoSrc"
    buildings, b = read_soup(source / "53393599_bldg_6677.obj")
    terrain, g = read_soup(source / "53393599_dem_6677.obj")
    n = len(b) + len(g)
    scene = Scene(
        (np.concatenate([buildings, terrain]) - [-8100, -37400, 0]).astype(np.float32),
        np.concatenate([b, g + len(buildings)]).astype(np.int32),
        np.repeat([15, 14], [len(b), len(g)]).astype(np.uint8),
        np.ones(n, np.uint16),
        np.zeros(n, np.int32),
        np.zeros((n, 3, 2), np.float32),
        np.tile(np.float32([0, 0, 1]), (n, 3, 1)),
        [Material("plain", np.ones(3, np.float32))],
        ["tile"],
    )
    world = Tile(scene, Light(np.array([0, 0, -1.0]), np.ones(3), np.ones(3), np.ones(3), False))
    faces = tuple(
        CameraSpec(name, Pose.from_rpy(0, 0, 0, 0, pitch, yaw), 400, 400, np.pi / 2, 0.1, 300, 10)
        for name, (yaw, pitch) in CUBE_FACES.items()
    )
    rig = Rig("cube", (), faces)
    files = sorted((shared / "reference/gazebo/tile06").glob("pose*.npz"))
    assert len(files) >= 3
    for file in files:
        with np.load(file, allow_pickle=False) as z:
            recorded = {name: z[name] for name in z.files}
        engine = Engine(world, {"v": Vehicle(rig, Static(Pose.from_rpy(*recorded["pose_xyzrpy"])))})
        frame = engine.render("v")
        for face in CUBE_FACES:
            true, got = recorded[f"{face}_depth"], frame.depth[face]
            both = np.isfinite(true) & np.isfinite(got)
            assert (np.isfinite(true) != np.isfinite(got)).sum() <= 10, (file.name, face)
            if not both.any():
                continue
            error = np.abs(true[both].astype(float) - got[both])
            assert np.median(error) <= 2e-4 and (error > 0.05).sum() <= 5e-4 * true.size, (file.name, face)
            assert (recorded[f"{face}_label"][both] != frame.semantic[face][both]).sum() <= 10, (file.name, face)
