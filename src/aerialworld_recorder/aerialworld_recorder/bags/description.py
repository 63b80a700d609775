"""What the session of a bag is: its place on earth, its datum, its start, found where they are not given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Georeference
from aerialworld_core.plan import agent_type
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import SessionMeta
from aerialworld_core.session.layout import START_TIME, format_time
from aerialworld_recorder import __version__
from aerialworld_recorder.bags.bag import Bag
from aerialworld_recorder.bags.choices import Choice, ImportOptions
from aerialworld_recorder.bags.errors import BagError
from aerialworld_recorder.bags.library import decoded, library
from aerialworld_recorder.stream import cdr
from aerialworld_recorder.stream.channels import Channel
from aerialworld_recorder.stream.messages import ContentError
from aerialworld_recorder.stream.synchroniser import Bundle

#: Share of a frame's returns, in per cent, that may lie below an estimated datum.
LOWEST_PERCENTILE = 1.0

Ground = Callable[[Array], Array]


@dataclass(frozen=True)
class Place:
    """Where the session lies: its world's name and hash, terrain heights (map x, y (N, 2) → z (N,)) and the lowest of
    them around a point, from a world; without one the heights of the bag, or none."""

    name: str = "unknown"
    sha256: str = ""
    georeference: Georeference | None = None
    terrain: Ground | None = None
    datum: Callable[[float, float], float] | None = None
    attribution: str = ""


@dataclass(eq=False)
class Describer:
    """Makes the session's meta. `events` gives what the synchroniser says of the bag's messages on some channels,
    `frame` decodes a bundle; `notes` is added to where something was found and not given."""

    bag: Bag
    choice: Choice
    options: ImportOptions
    place: Place
    conditions: Mapping[str, Any] | None
    offset: int
    notes: list[str]
    events: Callable[[tuple[Channel, ...]], Iterable[Any]]
    frame: Callable[[Bundle], SensorFrame]

    def meta(self) -> SessionMeta:
        choice, options, document = self.choice, self.options, self.choice.document
        datum, origin = self._datum()
        georeference = options.georeference or self.place.georeference or (document.georeference if document else None)
        georeference = georeference or self._georeference()
        start = options.start_time or (document.start_time if document else None)
        if start is None:
            start = format_time(datetime.fromtimestamp(self.offset / 1e9, UTC)) if self.offset else START_TIME
        world = {"name": self.place.name, "sha256": self.place.sha256}
        if document is not None and not self.place.sha256:
            world = dict(document.world)
        agent = document.agent_type if document else agent_type(choice.vehicle)
        engine = {"name": "bag", "version": __version__, "datum": origin, "occupancy": choice.source}
        return SessionMeta(
            vehicle=choice.vehicle,
            agent_type=agent,
            engine=engine,
            world=world,
            georeference=georeference,
            grid=choice.grid,
            datum=datum,
            rig=choice.rig,
            frame_period_ns=choice.period_ns,
            seed=document.seed if document else 0,
            mission=document.mission if document else "",
            conditions=self.conditions if self.conditions is not None else (document.conditions if document else {}),
            start_time=start,
            attribution=self.place.attribution or (document.attribution if document else ""),
            kept=choice.images.kinds,
            faces_only=choice.images.faces_only,
        )

    def _datum(self) -> tuple[float, str]:
        """Map z of the grid's zero, and where it is known from: given, session, world or estimated."""
        if self.options.datum is not None:
            return self.options.datum, "given"
        if self.choice.document is not None:
            return self.choice.document.datum, "session"
        if self.place.datum is not None:
            x, y, _ = self._first_position()
            return float(self.place.datum(x, y)), "world"
        lowest = self._lowest_return()
        self.notes.append(f"the datum {lowest:.2f} m is estimated from the lowest returns; --datum gives it")
        return lowest, "estimated"

    def _first_position(self) -> Array:
        for event in self.events(self.choice.channels):
            if isinstance(event, Bundle):
                return event.state.pose.position
        raise InputError(f"{self.bag.path}: no frame has all sensors of the rig")

    def _lowest_return(self) -> float:
        """The least of the frames' first percentiles of return heights: single stray returns do not count."""
        lowest = np.inf
        needed = tuple(c for c in self.choice.channels if c.kind in ("odom", "lidar", "depth"))
        if not any(c.kind in ("lidar", "depth") for c in needed):
            raise InputError(f"{self.bag.path}: nothing in it tells where the ground is; give --datum (map z, metres)")
        try:
            for event in self.events(needed):
                if isinstance(event, Bundle):
                    heights = self._return_heights(event)
                    if len(heights):
                        lowest = min(lowest, float(np.percentile(heights, LOWEST_PERCENTILE)))
        except BagError:
            if not np.isfinite(lowest):
                raise  # else what is there tells enough, and the damage is met again when frames are made
        if not np.isfinite(lowest):
            raise InputError(f"{self.bag.path}: no return tells where the ground is; give --datum (map z, metres)")
        return lowest

    def _return_heights(self, bundle: Bundle) -> NDArray[np.float64]:
        """Map z (N,) of a frame's LiDAR returns, or else of its depth faces' hits."""
        pose, parts = bundle.state.pose, []
        try:
            frame = self.frame(replace(bundle, imu=None))
        except ContentError:
            return np.zeros(0)
        lidar = self.choice.rig.lidar
        if frame.lidar is not None and lidar is not None:
            return pose.transform(lidar.pose.transform(frame.lidar[:, :3]))[:, 2]
        faces = {f.name: f for f in self.choice.rig.depth}
        for name, depth in frame.depth.items():
            spec = faces[name]
            v, u = np.nonzero(np.isfinite(depth) & (depth > 0))
            z = depth[v, u].astype(np.float64)
            x = (u + 0.5 - spec.width / 2) / spec.focal * z
            y = (v + 0.5 - spec.height / 2) / spec.focal * z
            parts.append(pose.transform(spec.optical_pose.transform(np.column_stack([x, y, z])))[:, 2])
        return np.concatenate(parts) if parts else np.zeros(0)

    def _georeference(self) -> Georeference:
        """Where map's origin lies, by the first satellite fix and the pose at it."""
        topic = self.choice.extra.get("navsat")
        if topic is None:
            raise InputError(
                f"{self.bag.path}: nothing tells where on earth it lies; give --georeference LATITUDE,LONGITUDE,HEIGHT "
                "of map's origin, or --world"
            )
        channel = next(c for c in self.choice.channels if c.kind == "odom")
        fix = pose = None
        for raw in self.bag.messages({topic, channel.topic}):
            try:
                if raw.topic == topic:
                    found = decoded("sensor_msgs/msg/NavSatFix", raw.data)
                    place = (found.latitude, found.longitude, found.altitude)
                    fix = fix or (place if found.status.status >= 0 and np.isfinite(place).all() else None)
                else:
                    payload: Any = cdr.message(raw.topic, channel.type, raw.data).load()
                    pose = pose if pose is not None and fix is None else payload.position
            except (ContentError, ValueError):
                continue
            if fix and pose is not None:
                break
        if fix is None or pose is None:
            raise InputError(f"{self.bag.path}: {topic} has no fix; give --georeference LATITUDE,LONGITUDE,HEIGHT")
        to_origin = [-v for v in pose]
        latitude, longitude, height = library("pymap3d").enu2geodetic(*to_origin, *fix)
        self.notes.append("map's place on earth is that of the first satellite fix")
        return Georeference(float(latitude), float(longitude), float(height))
