"""The three kernels of the warp backend: pictures, depth images and scans, one thread for a ray."""

# Warp compiles these bodies; its types are not Python's.
# mypy: disable-error-code="arg-type, assignment, attr-defined, call-overload, index, misc, no-any-return, operator"
# mypy: disable-error-code="return-value, type-var"

import warp as wp

from aerialworld_sim.surfaces import NORMAL
from aerialworld_sim.warp_rays import Geometry, doubled, front, single
from aerialworld_sim.warp_shading import Look, encoded, lit, sky

# Arithmetic as written, as in the CPU backend: no multiply-add is fused. Nothing here is differentiated.
wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_NORMAL = wp.constant(NORMAL)
#: Threads of a launch cover blocks of pixels, so that neighbours in a warp of 32 cast neighbouring rays.
BLOCK_WIDTH, BLOCK_HEIGHT = 8, 4


@wp.struct
class View:
    """A camera in map: `forward`, `left`, `up` are the link's axes, `cx`, `cy` the column and row of the optical axis,
    `inverse` 1 / focal length; `left_of`, `up_of` (H, W) are its pixels' directions where it has distortion, else
    empty."""

    origin: wp.vec3d
    forward: wp.vec3d
    left: wp.vec3d
    up: wp.vec3d
    width: wp.int32
    height: wp.int32
    cx: wp.float32
    cy: wp.float32
    inverse: wp.float32
    near: wp.float32
    far: wp.float32
    viewer: wp.int32
    left_of: wp.array2d[wp.float32]
    up_of: wp.array2d[wp.float32]


@wp.func
def column_of(block: wp.int32, k: wp.int32) -> wp.int32:
    return block * BLOCK_WIDTH + k % BLOCK_WIDTH


@wp.func
def row_of(block: wp.int32, k: wp.int32) -> wp.int32:
    return block * BLOCK_HEIGHT + k / BLOCK_WIDTH


@wp.func
def sideways(view: View, x: wp.int32, y: wp.int32) -> wp.vec2:
    """Left and up of the pixel's direction (1, left, up) in the link."""
    if view.left_of.shape[0] > 0:
        return wp.vec2(view.left_of[y, x], view.up_of[y, x])
    return wp.vec2((view.cx - wp.float32(x)) * view.inverse, (view.cy - wp.float32(y)) * view.inverse)


@wp.func
def direction(view: View, s: wp.vec2) -> wp.vec3d:
    """In map, of length 1 along the optical axis."""
    return view.forward + wp.float64(s[0]) * view.left + wp.float64(s[1]) * view.up


@wp.kernel
def picture(
    g: Geometry,
    look: Look,
    view: View,
    rgb: wp.array3d[wp.uint8],
    depth: wp.array2d[wp.float32],
    semantic: wp.array2d[wp.uint8],
    instance: wp.array2d[wp.uint16],
) -> None:
    """jobs.PictureJob; what is not wanted is empty."""
    block_y, block_x, k = wp.tid()
    x, y = column_of(block_x, k), row_of(block_y, k)
    if x >= view.width or y >= view.height:
        return
    s = sideways(view, x, y)
    d = direction(view, s)
    hit = front(g, view.origin, d, view.near, view.far, view.viewer)
    if rgb.shape[0] > 0:
        reciprocal = 1.0 / wp.sqrt(1.0 + s[0] * s[0] + s[1] * s[1])
        if hit.row >= 0:
            colour = lit(g, look, hit, view.origin, d, reciprocal, view.inverse * view.inverse)
        else:
            colour = sky(look, d, reciprocal)
        rgb[y, x, 0] = encoded(look, colour[0])
        rgb[y, x, 1] = encoded(look, colour[1])
        rgb[y, x, 2] = encoded(look, colour[2])
    labels = wp.int32(0)
    distance = wp.float32(wp.inf)
    if hit.row >= 0:
        labels = look.labels[hit.row]
        distance = hit.t
    if depth.shape[0] > 0:
        depth[y, x] = distance
    if semantic.shape[0] > 0:
        semantic[y, x] = wp.uint8(labels & 255)
    if instance.shape[0] > 0:
        instance[y, x] = wp.uint16(labels >> 8)


@wp.kernel
def depth_image(
    g: Geometry,
    look: Look,
    view: View,
    depth: wp.array2d[wp.float32],
    semantic: wp.array2d[wp.uint8],
    instance: wp.array2d[wp.uint16],
) -> None:
    """jobs.DepthJob."""
    block_y, block_x, k = wp.tid()
    x, y = column_of(block_x, k), row_of(block_y, k)
    if x >= view.width or y >= view.height:
        return
    s = sideways(view, x, y)
    d = direction(view, s)
    hit = front(g, view.origin, d, 0.0, view.far, view.viewer)
    labels = wp.int32(0)
    if hit.row < 0 or hit.t * wp.sqrt(1.0 + s[0] * s[0] + s[1] * s[1]) > view.far:
        depth[y, x] = wp.float32(wp.inf)
    elif hit.t < view.near:
        depth[y, x] = -wp.float32(wp.inf)
    else:
        depth[y, x] = hit.t
        labels = look.labels[hit.row]
    semantic[y, x] = wp.uint8(labels & 255)
    if instance.shape[0] > 0:
        instance[y, x] = wp.uint16(labels >> 8)


@wp.kernel
def scan(
    g: Geometry,
    look: Look,
    directions: wp.array[wp.vec3],
    origins: wp.array[wp.vec3d],
    rotations: wp.array[wp.mat33d],
    pose_of: wp.array[wp.int32],
    far: wp.float32,
    viewer: wp.int32,
    distance: wp.array[wp.float32],
    cosine: wp.array[wp.float32],
    face: wp.array[wp.int32],
) -> None:
    """jobs.ScanJob; without `pose_of` all rays start from the first pose."""
    i = wp.tid()
    pose = wp.int32(0)
    if pose_of.shape[0] > 0:
        pose = pose_of[i]
    d = rotations[pose] * doubled(directions[i])
    hit = front(g, origins[pose], d, 0.0, far, viewer)
    face[i] = hit.row
    if hit.row >= 0:
        normal = wp.vec3(
            look.records[hit.row, _NORMAL], look.records[hit.row, _NORMAL + 1], look.records[hit.row, _NORMAL + 2]
        )
        distance[i] = hit.t
        cosine[i] = wp.clamp(-wp.dot(normal, single(d)), 0.0, 1.0)
    else:
        distance[i] = wp.float32(wp.inf)
        cosine[i] = 0.0
