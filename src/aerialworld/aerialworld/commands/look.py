"""`aerialworld look`: one picture of all that a rig sees from one place of a world."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.console import command, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import (
    BackendOption,
    ConditionsOption,
    OptionError,
    SeedOption,
    TrustColladaOption,
    WorldArgument,
    conditions_from_option,
    numbers,
)
from aerialworld_core.conditions import Conditions
from aerialworld_core.conditions_drawn import conditions_for
from aerialworld_core.files import write_bytes
from aerialworld_core.frames import Pose
from aerialworld_core.rig import Rig

#: Metres above the ground: of the drone, and of the cameras' middle in the street.
IN_THE_AIR, EYE = 60.0, 1.8


@command
def look(
    world: WorldArgument,
    out: Annotated[Path, typer.Option("--out", help="Picture to write (PNG).", show_default=False)],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="X,Y,Z[,YAW]", help="base_link in map: metres, degrees counter-clockwise from east."
        ),
    ] = None,
    above_ground: Annotated[
        float | None,
        typer.Option("--above-ground", help="Metres above the ground near the densest place. Default: 60."),
    ] = None,
    street: Annotated[
        bool, typer.Option("--street", help="Stand in a street near the densest place, cameras 1.8 m high.")
    ] = False,
    rig: Annotated[
        str | None,
        typer.Option("--rig", metavar="NAME|PATH", help="Sensor rig. Default: rig_drone, in the street rig_rover."),
    ] = None,
    conditions: ConditionsOption = None,
    seed: SeedOption = 0,
    backend: BackendOption = "auto",
    trust_collada: TrustColladaOption = False,
) -> None:
    """Draw a contact sheet: every camera, the cube's depth and class, the LiDAR from above and as a range image.

    The viewpoint is chosen where nothing stands in the way, the same one every time; --at takes any other.
    """
    from aerialworld import look as sheet

    if (at is not None) + (above_ground is not None) + street > 1:
        raise OptionError("--at, --above-ground and --street: give one of them")
    if out.suffix.lower() != ".png":
        raise OptionError(f"--out: {out} is no .png")
    if out.is_dir():
        raise OptionError(f"--out: {out} is a folder; give a file")
    if above_ground is not None and not (math.isfinite(above_ground) and 0 < above_ground <= 10_000):
        raise OptionError(f"--above-ground: {above_ground:g} is no height in metres")
    given = _pose_from_option(at) if at is not None else None
    asked = conditions_for(conditions_from_option(conditions), seed)
    loaded = open_world(world, trust_collada=trust_collada)
    chosen = stage("aerialworld_core.world", "load_rig")(rig or ("rig_rover" if street else "rig_drone"))
    known = asked.resolved(loaded.georeference)
    light = known.light(loaded.light, loaded.georeference)
    pose = given or _viewpoint(loaded, chosen, street, IN_THE_AIR if above_ground is None else above_ground)
    seen = sheet.look_from(loaded, pose, chosen, light, seed, backend)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, sheet.contact_sheet(seen, _title(loaded, pose, known, light, seen)))
    say(str(out))


def _pose_from_option(text: str) -> Pose:
    values = numbers(text, 4 if text.count(",") == 3 else 3, "--at")
    x, y, z = values[:3]
    return Pose.from_rpy(x, y, z, yaw=math.radians(values[3]) if len(values) == 4 else 0.0)


def _viewpoint(world: Any, rig: Rig, street: bool, height: float) -> Pose:
    from aerialworld.viewpoint import air_viewpoint, street_viewpoint

    if not street:
        return air_viewpoint(world, height)
    mounts = [camera.pose.position[2] for camera in rig.cameras or rig.depth]
    mount = float(sum(mounts) / len(mounts)) if mounts else 0.0
    eye = street_viewpoint(world, EYE)
    return Pose(eye.position - [0.0, 0.0, mount], eye.orientation)


def _title(world: Any, pose: Pose, conditions: Conditions, light: Any, seen: Any) -> list[str]:
    x, y, z = pose.position
    if conditions.local_time is None:
        time = "the world's own sun"
    else:
        time = f"{conditions.date} {conditions.local_time} (UTC{conditions.utc_offset_h:+g} h)"
    elevation = math.degrees(math.asin(max(-1.0, min(1.0, -float(light.direction[2])))))
    ground = float(world.terrain_height(pose.position[None, :2])[0])
    above = f", base_link {z - ground:.1f} m above the ground" if math.isfinite(ground) else ""
    place = f"x {x:.1f} m, y {y:.1f} m, z {z:.1f} m{above}, yaw {math.degrees(pose.yaw):.0f}°"
    return [
        f"{world.name}: {place}, {seen.rig.name}",
        f"{time}, sun {elevation:.1f}° high, {_weather(conditions)}; {seen.renderer}",
    ]


def _weather(conditions: Conditions) -> str:
    """`fog, visibility 200 m, exposure auto`."""
    words = [conditions.weather]
    if conditions.visibility_m is not None:
        words.append(f"visibility {conditions.visibility_m:,.0f} m")
    if conditions.rain_mm_h is not None:
        words.append(f"{conditions.rain_mm_h:g} mm/h")
    if conditions.exposure is not None:
        stops = "auto" if conditions.exposure == "auto" else f"{conditions.exposure:+g} stops"
        words.append(f"exposure {stops}")
    return ", ".join(words)
