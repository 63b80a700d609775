"""Embree 4 through its C API: find the library in the `embreex` wheel, open a device, build a triangle scene.

`embreex` itself binds only single rays; native-width coherent packets are some ten times faster, so the kernels call
`rtcIntersect16/8/4` of the same library directly. Facts from Embree 4's public headers: the layout of RTCRayHit packets
(21 fields per lane, instancing included), RTCRayQueryArguments, instance geometries and the device properties.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding
from numpy.typing import NDArray

from aerialworld_core.errors import AerialWorldError

PIP_LINE = 'pip install "embreex>=4.4,<5"'

_COHERENT = 1 << 16
_INVOKE_ARGUMENT_FILTER = 1 << 1
_SCENE_DYNAMIC = 1 << 0
_SCENE_COMPACT = 1 << 1
_SCENE_ROBUST = 1 << 2
_SCENE_FILTER_IN_ARGUMENTS = 1 << 3
_BUILD_QUALITY_LOW = 0
_GEOMETRY_INSTANCE = 121
_FLOAT3X4_ROW_MAJOR = 0x9134
_VERSION_PROPERTY = 0
_UNMOVED = np.eye(3, 4, dtype=np.float32)
#: A mask that every ray shares a bit with.
ALL_RAYS = 0xFFFFFFFF
#: Lanes of a packet and the device property that says whether they are native (AVX-512, AVX, SSE).
_NATIVE_LANES = ((16, 34), (8, 33), (4, 32))


class EngineError(AerialWorldError):
    """The engine cannot run here: a library is missing, of another version, or gives wrong results."""


@cache
def library() -> ctypes.CDLL:
    """Load Embree once and make its symbols known to compiled kernels. Raises EngineError with the way out."""
    try:
        distribution = metadata.distribution("embreex")
    except metadata.PackageNotFoundError:
        raise EngineError(f"the embedded engine needs Embree 4.4, which the embreex wheel brings: {PIP_LINE}") from None
    folder = Path(str(distribution.locate_file("embreex.libs")))
    found = sorted(folder.glob("libembree4*.so*")) + sorted(folder.glob("libembree4*.dylib"))
    if not found:
        raise EngineError(
            f"embreex {distribution.version} is installed without libembree4 beside it (embreex.libs); "
            f"reinstall the binary wheel: {PIP_LINE} --force-reinstall --only-binary embreex"
        )
    try:
        lib = ctypes.CDLL(str(found[0]))
        binding.load_library_permanently(str(found[0]))
    except (OSError, RuntimeError) as error:
        raise EngineError(f"{found[0].name} of embreex {distribution.version} does not load: {error}") from error
    pointer, unsigned, size = ctypes.c_void_p, ctypes.c_uint, ctypes.c_size_t
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rtcNewDevice": (pointer, [ctypes.c_char_p]),
        "rtcReleaseDevice": (None, [pointer]),
        "rtcGetDeviceProperty": (ctypes.c_ssize_t, [pointer, ctypes.c_int]),
        "rtcGetDeviceError": (ctypes.c_int, [pointer]),
        "rtcNewScene": (pointer, [pointer]),
        "rtcReleaseScene": (None, [pointer]),
        "rtcSetSceneFlags": (None, [pointer, ctypes.c_int]),
        "rtcCommitScene": (None, [pointer]),
        "rtcNewGeometry": (pointer, [pointer, ctypes.c_int]),
        "rtcReleaseGeometry": (None, [pointer]),
        "rtcCommitGeometry": (None, [pointer]),
        "rtcAttachGeometry": (unsigned, [pointer, pointer]),
        "rtcSetNewGeometryBuffer": (pointer, [pointer, ctypes.c_int, unsigned, ctypes.c_int, size, size]),
        "rtcSetSharedGeometryBuffer": (
            None,
            [pointer, ctypes.c_int, unsigned, ctypes.c_int, pointer, size, size, size],
        ),
        "rtcSetGeometryInstancedScene": (None, [pointer, pointer]),
        "rtcSetGeometryTransform": (None, [pointer, unsigned, ctypes.c_int, pointer]),
        "rtcSetGeometryMask": (None, [pointer, unsigned]),
        "rtcSetSceneBuildQuality": (None, [pointer, ctypes.c_int]),
        "rtcEnableGeometry": (None, [pointer]),
        "rtcDisableGeometry": (None, [pointer]),
    }
    try:
        for name, (result, arguments) in signatures.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise EngineError(f"embreex {distribution.version}: {error}; install another one: {PIP_LINE}") from error
    return lib


class Device:
    """An Embree device. `lanes` is the widest packet that this processor traces natively."""

    def __init__(self) -> None:
        lib = library()
        handle = lib.rtcNewDevice(None)
        if not handle:
            raise EngineError(f"Embree makes no device (error {lib.rtcGetDeviceError(None)}); {PIP_LINE}")
        self.handle: int = handle
        weakref.finalize(self, lib.rtcReleaseDevice, handle)
        version = int(lib.rtcGetDeviceProperty(handle, _VERSION_PROPERTY))
        self.version = f"{version // 10000}.{version // 100 % 100}.{version % 100}"
        if not 40400 <= version < 50000:
            raise EngineError(f"Embree {self.version} is not 4.4 or a later 4.x: {PIP_LINE}")
        native = [lanes for lanes, prop in _NATIVE_LANES if lib.rtcGetDeviceProperty(handle, prop)]
        self.lanes: int = native[0] if native else 4

    def check(self, what: str) -> None:
        """Raise EngineError if the device has reported an error since the last call."""
        code = library().rtcGetDeviceError(self.handle)
        if code:
            names = ("", "unknown error", "invalid argument", "invalid operation", "out of memory", "CPU not supported")
            raise EngineError(f"Embree: {what}: {names[code] if code < len(names) else f'error {code}'}")


def query_arguments(*, filter_address: int = 0) -> NDArray[np.uint8]:
    """An RTCRayQueryArguments for coherent packets; with a filter, it is invoked for every candidate hit."""
    flags = _COHERENT | (_INVOKE_ARGUMENT_FILTER if filter_address else 0)
    # flags, feature mask (all), context, filter, intersect, minimum width
    record = np.array(
        [(flags, 0xFFFFFFFF, 0, filter_address, 0, 0.0)],
        dtype=np.dtype("u4, u4, u8, u8, u8, f4", align=True),
    )
    return record.view(np.uint8)


class TriangleScene:
    """The scene's triangles in a bounding volume hierarchy. Watertight (Embree's robust mode): no ray slips between two
    triangles that share an edge, which would carve free space behind a wall."""

    def __init__(self, device: Device, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
        lib = library()
        self.device = device
        handle = lib.rtcNewScene(device.handle)
        device.check("new scene")
        self.handle: int = handle
        weakref.finalize(self, lib.rtcReleaseScene, handle)
        lib.rtcSetSceneFlags(handle, _SCENE_COMPACT | _SCENE_ROBUST | _SCENE_FILTER_IN_ARGUMENTS)
        if len(faces):
            geometry = lib.rtcNewGeometry(device.handle, 0)
            try:
                self._upload(geometry, 1, 0x9003, vertices.astype(np.float32, copy=False))  # vertices, FLOAT3
                # Indices, UINT3, where they are; vertices must be followed by room that their array may not have.
                self._faces = np.ascontiguousarray(faces, np.int32)
                lib.rtcSetSharedGeometryBuffer(
                    geometry, 0, 0, 0x5003, self._faces.ctypes.data, 0, 12, len(self._faces)
                )  # fmt: skip
                device.check(f"{len(faces)} triangles")
                lib.rtcSetGeometryMask(geometry, ALL_RAYS)  # Embree's default is the first bit alone
                lib.rtcCommitGeometry(geometry)
                lib.rtcAttachGeometry(handle, geometry)
            finally:
                lib.rtcReleaseGeometry(geometry)
        lib.rtcCommitScene(handle)
        device.check(f"building a scene of {len(faces)} triangles")

    def _upload(self, geometry: int, kind: int, layout: int, data: NDArray[Any]) -> None:
        data = np.ascontiguousarray(data)
        target = library().rtcSetNewGeometryBuffer(geometry, kind, 0, layout, 12, len(data))
        self.device.check(f"memory for {len(data)} vertices")
        ctypes.memmove(target, data.ctypes.data, data.nbytes)


class InstanceScene:
    """Scenes placed in a common one: the static world first, then a scene for each body that moves.

    `mask` of an instance says which rays see it: those whose own mask shares a bit with it. Moving instances costs a
    new top level only, some 0.2 ms for fifty of them.
    """

    def __init__(self, device: Device, scenes: Sequence[TriangleScene], masks: Sequence[int]) -> None:
        lib = library()
        self.device, self._scenes = device, list(scenes)  # kept: Embree counts references, Python must too
        handle = lib.rtcNewScene(device.handle)
        device.check("new scene of instances")
        self.handle: int = handle
        weakref.finalize(self, lib.rtcReleaseScene, handle)
        lib.rtcSetSceneFlags(handle, _SCENE_ROBUST | _SCENE_FILTER_IN_ARGUMENTS | _SCENE_DYNAMIC)
        lib.rtcSetSceneBuildQuality(handle, _BUILD_QUALITY_LOW)
        self._geometries: list[int] = []
        for scene, mask in zip(scenes, masks, strict=True):
            geometry = lib.rtcNewGeometry(device.handle, _GEOMETRY_INSTANCE)
            lib.rtcSetGeometryInstancedScene(geometry, scene.handle)
            lib.rtcSetGeometryMask(geometry, mask)
            lib.rtcAttachGeometry(handle, geometry)
            lib.rtcReleaseGeometry(geometry)  # the scene holds it from here on
            self._geometries.append(geometry)
        self._present = np.ones(len(scenes), np.bool_)
        for number in range(len(scenes)):
            self._transform(number, _UNMOVED.ctypes.data)
        lib.rtcCommitScene(handle)
        device.check(f"{len(scenes)} instances")

    def _transform(self, number: int, address: int) -> None:
        geometry = self._geometries[number]
        library().rtcSetGeometryTransform(geometry, 0, _FLOAT3X4_ROW_MAJOR, address)
        library().rtcCommitGeometry(geometry)

    def place(self, present: NDArray[np.bool_], matrices: NDArray[np.float32]) -> None:
        """Whether each scene but the first is there (M,), and where it stands: (M, 3, 4) to map."""
        lib = library()
        start, size = matrices.ctypes.data, matrices.strides[0]
        for number, (is_there, was_there) in enumerate(zip(present.tolist(), self._present[1:].tolist(), strict=True)):
            if is_there and not was_there:
                lib.rtcEnableGeometry(self._geometries[number + 1])
            if is_there:
                self._transform(number + 1, start + number * size)
            elif was_there:
                lib.rtcDisableGeometry(self._geometries[number + 1])
        self._present[1:] = present
        lib.rtcCommitScene(self.handle)
        self.device.check(f"placing {len(self._geometries)} instances")
