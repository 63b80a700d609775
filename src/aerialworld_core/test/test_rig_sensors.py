"""Sensors as SDF declares them: lenses, noise, receivers; and rigs that cannot be, told with file, line and way out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from aerialworld_core.errors import WorldError
from aerialworld_core.world import load_rig

IMAGE = "<image><width>640</width><height>480</height></image>"
CLIP = "<clip><near>0.1</near><far>50</far></clip>"
SCAN = (
    "<scan><horizontal><samples>{columns}</samples><min_angle>-3</min_angle><max_angle>3</max_angle></horizontal>"
    "<vertical><samples>{beams}</samples><min_angle>{low}</min_angle><max_angle>0.2</max_angle></vertical></scan>"
)


def sensor(kind: str, name: str, body: str, *, rate: str = "10", pose: str = "0 0 0 0 0 0") -> str:
    return (
        f'<sensor name="{name}" type="{kind}"><pose>{pose}</pose>\n<update_rate>{rate}</update_rate>\n{body}</sensor>\n'
    )


def camera(inner: str = "", *, kind="camera", name="cam_front", hfov="1.2", image=IMAGE, clip=CLIP, **more) -> str:
    body = f"<camera><horizontal_fov>{hfov}</horizontal_fov>{image}{clip}\n{inner}</camera>"
    return sensor(kind, name, body, **more)


def lidar(inner: str = "", *, name="lidar", columns="360", beams="16", low="-0.4", far="100", **more) -> str:
    scan = SCAN.format(columns=columns, beams=beams, low=low)
    return sensor(
        "gpu_lidar", name, f"<lidar>{scan}<range><min>0.5</min><max>{far}</max></range>\n{inner}</lidar>", **more
    )


def imu(**axes: str) -> str:
    quantities = {}
    for key, noise in axes.items():
        tag, axis = ("angular_velocity" if key[0] == "g" else "linear_acceleration"), key[1]
        quantities.setdefault(tag, []).append(f'<{axis}><noise type="gaussian">{noise}</noise></{axis}>\n')
    body = "".join(f"<{tag}>{''.join(parts)}</{tag}>" for tag, parts in quantities.items())
    return sensor("imu", "imu", f"<imu>{body}</imu>", rate="100")


@pytest.fixture
def rig_of(tmp_path):
    def read(*sensors: str):
        path = tmp_path / "my.sdf"
        path.write_text(
            f'<sdf version="1.10"><model name="mine"><link name="base_link">\n{"".join(sensors)}</link></model></sdf>'
        )
        return load_rig(path)

    return read


def test_distortion_comes_in_opencvs_order(rig_of):
    lens = "<distortion><k1>-0.2</k1><k2>0.05</k2><k3>0.01</k3><p1>0.001</p1><p2>-0.002</p2></distortion>"
    spec = rig_of(camera(lens)).cameras[0]
    assert spec.distortion == (-0.2, 0.05, 0.001, -0.002, 0.01) and not spec.ideal
    assert spec.hfov == 1.2 and spec.principal_point is None
    centred = lens.replace("</distortion>", "<center>0.5 0.5</center></distortion>")
    assert rig_of(camera(centred)).cameras[0].distortion == spec.distortion


@pytest.mark.parametrize(
    "lens", ["<distortion/>", "<distortion><k1>0</k1><center>0.5 0.5</center></distortion>", "<lens/>"]
)
def test_a_lens_that_says_nothing_is_none(rig_of, lens):
    assert rig_of(camera(lens)).cameras[0].ideal


def test_intrinsics_override_the_field_of_view(rig_of):
    inner = "<fx>400</fx><fy>420</fy><cx>300</cx><cy>250</cy><s>0</s>"
    spec = rig_of(camera(f"<lens><type>gnomonical</type><intrinsics>{inner}</intrinsics></lens>")).cameras[0]
    np.testing.assert_allclose(spec.intrinsics, [[400, 0, 300], [0, 420, 250], [0, 0, 1]], rtol=1e-14)
    assert spec.hfov == pytest.approx(2 * np.arctan(320 / 400))
    plain = "<lens><intrinsics><fx>400</fx><fy>400</fy><cx>320</cx><cy>240</cy></intrinsics></lens>"
    assert rig_of(camera(plain)).cameras[0].ideal


def test_noise_of_cameras_and_lidar(rig_of):
    noise = "<noise><type>gaussian</type><mean>0.02</mean><stddev>0.01</stddev></noise>"
    rig = rig_of(camera(noise), lidar(noise))
    assert (rig.cameras[0].noise_mean, rig.cameras[0].noise_stddev) == (0.02, 0.01)
    assert (rig.lidar.noise_mean, rig.lidar.noise_stddev) == (0.02, 0.01)
    silent = noise.replace("gaussian", "none")
    assert rig_of(camera(silent)).cameras[0].noise_stddev == 0.0
    # Gazebo reads the range resolution and does not apply it; so here.
    coarse = lidar().replace("</range>", "<resolution>0.5</resolution></range>")
    assert rig_of(coarse).lidar.to_dict() == rig_of(lidar()).lidar.to_dict()


def test_an_imu_has_its_noise_axis_by_axis(rig_of):
    drift = (
        "<mean>0.1</mean><stddev>0.2</stddev><bias_mean>0.3</bias_mean><bias_stddev>0.4</bias_stddev><precision>0.5"
        "</precision><dynamic_bias_stddev>0.6</dynamic_bias_stddev>"
        "<dynamic_bias_correlation_time>700</dynamic_bias_correlation_time>"
    )
    spec = rig_of(imu(gx="<stddev>0.003</stddev>", gy="<stddev>0.004</stddev>", az=drift)).imu
    gyro, accel = spec.noise("gyro"), spec.noise("accel")
    assert gyro.stddev.tolist() == [0.003, 0.004, 0.0] and not gyro.drift_stddev.any()
    for key, value in zip(
        ("mean", "stddev", "bias_mean", "bias_stddev", "precision", "drift_stddev", "drift_time"),
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 700.0),
        strict=True,
    ):
        assert getattr(accel, key).tolist() == [0.0, 0.0, value]
    same = rig_of(imu(gx="<stddev>1</stddev>", gy="<stddev>1</stddev>", gz="<stddev>1</stddev>")).imu
    assert same.gyro_noise_stddev == 1.0  # one number, as session.json always had it


@pytest.mark.parametrize("kind", ["navsat", "gps"])
def test_a_receiver(rig_of, kind):
    noise = '<{0}><noise type="gaussian"><stddev>{1}</stddev></noise></{0}>'
    both = noise.format("horizontal", 1.5) + noise.format("vertical", 3)
    body = f"<{kind}><position_sensing>{both}</position_sensing></{kind}>"
    rig = rig_of(camera(), sensor(kind, "gps", body, rate="5", pose="0.1 0 0.2 0 0 0"))
    assert (rig.navsat.name, rig.navsat.rate) == ("gps", 5.0)
    assert (rig.navsat.horizontal_stddev, rig.navsat.vertical_stddev) == (1.5, 3.0)
    assert rig.navsat.pose.position.tolist() == [0.1, 0.0, 0.2]
    assert rig_of(camera(), sensor(kind, "gps", "")).navsat.horizontal_stddev == 0.0


GAUSSIAN = "<noise><type>gaussian</type>{}</noise>"
FOLDS = "<distortion><k1>-2</k1></distortion>"
INTRINSICS = "<lens><intrinsics><fx>{fx}</fx><fy>{fy}</fy><cx>320</cx><cy>240</cy><s>{s}</s></intrinsics></lens>"


@pytest.mark.parametrize(
    ("sensors", "line", "match"),
    [
        ([camera(image="<image><width>0</width><height>480</height></image>")], 2, r"0×480 pixels; need 1 to 16384"),
        ([camera(image="<image><width>16384</width><height>16384</height></image>")], 2, "more than 100,000,000"),
        ([camera(image="<image><width>1e9</width><height>1</height></image>")], 2, "need 1 to 16384"),
        ([camera(image="<image><width>nan</width><height>1</height></image>")], 4, "is not finite"),
        ([camera(hfov="3.1415926536")], 2, "hfov < π"),
        ([camera(hfov="0")], 2, "need 0 < hfov"),
        ([camera(clip="<clip><near>5</near><far>5</far></clip>")], 2, "near 5.0 must be below far 5.0"),
        ([camera(clip="<clip><near>-1</near><far>5</far></clip>")], 2, "near -1.0"),
        ([camera(rate="-10")], 2, "<update_rate> must be positive, not -10"),
        ([camera(rate="1e9")], 2, "at most 10000"),
        ([camera(pose="0 0 nan 0 0 0")], 2, "'0 0 nan 0 0 0' is not finite"),
        ([camera(pose="0 0 1e300 0 0 0")], 2, r"lies 1e\+300 m from base_link; poses are metres"),
        ([camera("<triggered>true</triggered>")], 2, "<triggered> cameras are not supported"),
        ([camera(FOLDS)], 2, r"camera cam_front: <distortion> k1 -2.*folds over before the .* corner"),
        ([camera("<distortion><center>0.4 0.5</center></distortion>")], 5, "leave <center> at 0.5 0.5 and move"),
        ([camera("<distortion><k4>1</k4></distortion>")], 5, "<k4>: is not supported in <distortion>"),
        ([camera("<lens><type>stereographic</type></lens>")], 5, "'stereographic' is not supported; use gnomonical"),
        ([camera("<lens><custom_function/></lens>")], 5, "<custom_function>: is not supported in <lens>; cameras are"),
        ([camera("<lens><projection/></lens>")], 5, "<projection>: is not supported"),
        ([camera(INTRINSICS.format(fx=400, fy=400, s=1))], 5, "<s> must be 0"),
        ([camera(INTRINSICS.format(fx=0, fy=400, s=0))], 5, "<fx> must be positive"),
        ([camera(INTRINSICS.format(fx=400, fy=-4, s=0))], 2, "focal length -4"),
        ([camera(FOLDS.replace("-2", "0.01"), kind="depth_camera", name="depth_front")], 2, "ideal pinhole"),
        ([camera(INTRINSICS.format(fx=400, fy=410, s=0), kind="depth_camera", name="depth_up")], 2, "ideal pinhole"),
        ([camera("<depth_camera><clip/></depth_camera>", kind="depth_camera", name="depth_up")], 2, "<camera><clip>"),
        ([camera(GAUSSIAN.format("<stddev>-1</stddev>"))], 5, "<stddev> cannot be negative"),
        ([camera(GAUSSIAN.format("<bias_mean>1</bias_mean>"))], 5, "<bias_mean> is not supported here; a constant"),
        ([camera("<noise><stddev>1</stddev></noise>")], 5, 'has no type; write <noise type="gaussian">'),
        ([camera('<noise type="gaussian_quantized"/>')], 5, "'gaussian_quantized' is not supported"),
        ([camera(), camera()], 6, "there are two sensors of this name"),
        ([lidar(), lidar(name="second")], 6, r"the rig has a LiDAR already \(lidar\); one is supported"),
        ([lidar(columns="1000000", beams="1000")], 2, r"1000 beams × 1000000 columns is not a usable count"),
        ([lidar(columns="0")], 2, "must be a positive whole number, not 0"),
        ([lidar(low="0.3")], 2, "elevation 0.3 … 0.2 rad must rise within"),
        ([lidar(low="-2")], 2, "must rise within −π/2"),
        ([lidar().replace("<min_angle>-3<", "<min_angle>3.1<")], 2, "must rise, by one turn at most"),
        ([lidar().replace("<max_angle>3<", "<max_angle>4<")], 2, "must rise, by one turn at most"),
        ([lidar(far="0.1")], 2, "range 0.5 … 0.1 is empty"),
        ([lidar(rate="nan")], 3, "'nan' is not finite"),
        ([lidar(GAUSSIAN.format("<dynamic_bias_stddev>1</dynamic_bias_stddev>"))], 5, "<dynamic_bias_stddev> is not"),
        ([imu(gz="<dynamic_bias_stddev>1</dynamic_bias_stddev>")], 2, "gyro: dynamic_bias_stddev needs a dynamic_bias"),
        ([imu(ax="<bias_stddev>-1</bias_stddev>")], 4, "<bias_stddev> cannot be negative"),
        ([imu(), imu()], 5, "has an IMU already"),
        ([sensor("navsat", "a", ""), sensor("navsat", "b", "")], 5, r"has a NavSat already \(a\)"),
        (
            [
                sensor(
                    "navsat",
                    "a",
                    "<navsat><position_sensing><vertical>" + GAUSSIAN.format("<mean>2</mean>")
                    + "</vertical></position_sensing></navsat>",
                )
            ],
            4,
            "<mean> is not supported here; only <stddev> is",
        ),
        ([sensor("navsat", "a", "")], None, "carries a camera, depth camera, LiDAR or IMU"),
        ([], None, "carries a camera, depth camera, LiDAR or IMU"),
    ],
)  # fmt: skip
def test_rigs_that_cannot_be_are_told_where_and_why(rig_of, sensors, line, match):
    with pytest.raises(WorldError, match=match) as caught:
        rig_of(*sensors)
    place = rf"^\S+my\.sdf:{line}: <" if line else r"^\S+my\.sdf: "
    assert re.match(place, str(caught.value)), str(caught.value)
