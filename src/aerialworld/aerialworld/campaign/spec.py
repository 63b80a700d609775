"""What a campaign file may say: names, bounds, defaults. Everything else is an error that names file and key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from aerialworld.campaign.yaml_text import CampaignError, read_yaml
from aerialworld_core.conditions_drawn import RandomConditions, conditions_from
from aerialworld_core.entries import instead_of, shown
from aerialworld_core.errors import AerialWorldError
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.traffic import TrafficOptions

SPLITS = ("train", "val", "test")
SplitName = Literal["train", "val", "test"]
#: A campaign of more sessions than this is refused: write several.
MAX_SESSIONS = 100_000
MAX_FRAMES = 1_000_000

#: The kind of error that speaks in our words already.
_OURS = "campaign"

Name = Annotated[str, Field(pattern=r"^[^\W_][\w.+-]{0,59}$")]


def _refused(message: str) -> PydanticCustomError:
    """An error to raise whose text is told as it stands."""
    return PydanticCustomError(_OURS, "{message}", {"message": message})


def _pair(value: Any) -> Any:
    """A number stands for a range of one value; a list of two is one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return (float(value), float(value))
    if isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value):
        return (float(value[0]), float(value[1]))
    raise _refused("is a number, or two in brackets: [lowest, highest]")


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one_or_more(value: Any) -> Any:
    """One table stands for a list of one."""
    return (value,) if isinstance(value, dict) else _listed(value)


def _between(least: float, most: float) -> AfterValidator:
    """Refuses a range that does not rise or leaves [least, most]."""

    def check(value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not (least <= low <= high <= most):
            raise _refused(f"[{low:g}, {high:g}] must rise and lie within {least:g} and {most:g}")
        return value

    return AfterValidator(check)


Number = Annotated[float, Field(ge=-1e9, le=1e9)]
#: [low, high], from which numbers are drawn.
Range = Annotated[tuple[float, float], BeforeValidator(_pair)]
Edge = Annotated[Range, _between(5.0, 2000.0)]
Spacing = Annotated[Range, _between(1.0, 500.0)]
Height = Annotated[Range, _between(2.0, 500.0)]
FlightSpeed = Annotated[Range, _between(0.5, 20.0)]
DriveSpeed = Annotated[Range, _between(0.5, 5.0)]
Radius = Annotated[Range, _between(3.0, 1000.0)]
Degrees = Annotated[Range, _between(-360.0, 360.0)]
Clearance = Annotated[Range, _between(2.0, 50.0)]


class Part(BaseModel):
    """A part of a campaign file: strict types, finite numbers, known keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise _refused(f"is a table of keys and values, not {_kind(data)}")
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known:
                raise _refused(f"unknown key {key}; {instead_of(key, known)}")
        return data


class ConvertSpec(Part):
    """Which part of a source is converted, as the options of `aerialworld city convert`."""

    mesh: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    bbox: Annotated[tuple[float, float, float, float], BeforeValidator(_listed)] | None = None
    around: Annotated[tuple[float, float], BeforeValidator(_listed)] | None = None
    radius: Annotated[float, Field(gt=0, le=200_000)] = 300.0
    lod: Literal["auto", "1", "2", "3"] = "auto"
    crs: Annotated[int, Field(ge=1, le=999_999)] | None = None
    modules: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None

    @field_validator("mesh", mode="before")
    @classmethod
    def _codes(cls, value: Any) -> Any:
        """Mesh codes are digits, which YAML reads as numbers."""
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(str(v) if type(v) is int else v for v in items)

    @field_validator("lod", mode="before")
    @classmethod
    def _level(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value


class WorldSpec(Part):
    """A world folder, or a source that is converted first."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    name: Name | None = None
    region: Annotated[tuple[float, float, float, float], BeforeValidator(_listed)] | None = None
    split: SplitName | None = None
    convert: ConvertSpec | None = None

    @field_validator("region")
    @classmethod
    def _box(cls, value: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if value is not None and not (value[0] < value[2] and value[1] < value[3] and max(map(abs, value)) < 1e6):
            raise _refused("is [west, south, east, north], metres in map, rising")
        return value


class Mission(Part):
    """What all missions have. A number is used as it is; of [low, high] every session draws its own."""

    agent_type: ClassVar[str] = "drone"
    pattern: str
    name: Name | None = None
    vehicle: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None
    rig: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    near_buildings: Annotated[float, Field(ge=0, le=1)] = 0.5


class Flight(Mission):
    """What all flights have."""

    altitude: Height = (20.0, 60.0)
    altitude_frame: Literal["ground", "home"] = "ground"
    speed: FlightSpeed = (3.0, 7.0)
    clearance: Clearance = (5.0, 5.0)


class Shaped(Flight):
    """Flights that keep their shape."""

    avoid: Literal["raise", "refuse"] = "raise"


class Line(Flight):
    """Flights that may bend around buildings."""

    avoid: Literal["raise", "bend", "refuse"] = "raise"


class Drive(Mission):
    """What all drives have."""

    agent_type: ClassVar[str] = "rover"
    speed: DriveSpeed = (2.0, 4.0)
    clearance: Clearance = (2.0, 2.0)


class Survey(Shaped):
    """Lanes over a square."""

    pattern: Literal["survey"]
    size: Edge = (40.0, 120.0)
    spacing: Spacing = (10.0, 20.0)
    heading: Degrees = (0.0, 360.0)


class Orbit(Shaped):
    """Circles around a point."""

    pattern: Literal["orbit"]
    radius: Radius = (20.0, 50.0)
    look: Literal["path", "centre", "either"] = "either"
    direction: Literal["left", "right", "either"] = "either"


class Figure8(Shaped):
    """Two circles that touch, one flown to the left and one to the right."""

    pattern: Literal["figure8"]
    radius: Radius = (15.0, 40.0)
    heading: Degrees = (0.0, 360.0)


class Corridor(Line):
    """A line of straight legs that bends at random, flown back and forth."""

    pattern: Literal["corridor"]
    length: Annotated[Range, _between(20.0, 5000.0)] = (100.0, 250.0)
    bend: Annotated[Range, _between(0.0, 90.0)] = (0.0, 60.0)


class Random(Line):
    """Flights to random places, up and down."""

    pattern: Literal["random"]
    size: Annotated[Range, _between(30.0, 2000.0)] = (80.0, 150.0)
    vary: Annotated[Range, _between(0.0, 0.9)] = (0.25, 0.25)


class Waypoints(Line):
    """A shape of one's own, flown at places and headings that are drawn."""

    pattern: Literal["waypoints"]
    points: Annotated[tuple[Annotated[tuple[float, ...], BeforeValidator(_listed)], ...], BeforeValidator(_listed)]
    heading: Degrees = (0.0, 360.0)

    @field_validator("points")
    @classmethod
    def _is_a_shape(cls, value: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if not 2 <= len(value) <= 1000 or any(len(p) not in (2, 3) or max(map(abs, p)) > 5000 for p in value):
            raise _refused("is a list of 2 to 1000 points [forward, left] or [forward, left, altitude], metres")
        if len({p[:2] for p in value}) < 2:
            raise _refused("needs two points that lie apart")
        return value


class Road(Drive):
    """Drives along roads and open ground."""

    pattern: Literal["road"]
    size: Edge = (60.0, 150.0)


class Roads(Drive):
    """Drives on the lanes of the city's roads."""

    pattern: Literal["roads"]
    size: Annotated[Range, _between(20.0, 5000.0)] = (150.0, 400.0)


class Patrol(Drive):
    """Rounds of four posts."""

    pattern: Literal["patrol"]
    size: Annotated[Range, _between(20.0, 2000.0)] = (60.0, 150.0)


MissionSpec = Annotated[
    Survey | Orbit | Figure8 | Corridor | Random | Waypoints | Road | Roads | Patrol, Field(discriminator="pattern")
]
_PATTERNS = ("survey", "orbit", "figure8", "corridor", "random", "waypoints", "road", "roads", "patrol")


class ConditionSpec(Part):
    """Light and weather of a session; empty: the world's own sun. With `randomise`, every session draws its own."""

    local_time: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    date: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")] | None = None
    utc_offset_h: Annotated[float, Field(ge=-12, le=14)] | None = None
    weather: Literal["clear", "overcast", "haze", "fog", "rain"] | None = None
    visibility_m: Number | None = None
    rain_mm_h: Number | None = None
    cloud_cover: Number | None = None
    exposure: Number | Literal["auto"] | None = None
    randomise: dict[str, Any] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None = None

    @model_validator(mode="after")
    def _can_be_shown(self) -> ConditionSpec:
        try:
            conditions_from(self.given())
        except AerialWorldError as error:
            raise _refused(str(error)) from error
        return self

    def given(self) -> dict[str, Any]:
        """Only what the file says."""
        return self.model_dump(exclude_none=True)

    def of_session(self, seed: int) -> dict[str, Any]:
        """The entries of the session whose job has this seed: as given, or drawn."""
        wanted = conditions_from(self.given())
        return wanted.draw(seed).to_dict() if isinstance(wanted, RandomConditions) else self.given()


class TrafficSpec(Part):
    """Vehicles and pedestrians: counts, or texts such as "20/km". Every session has its own, from its seed."""

    cars: Annotated[int, Field(ge=0)] | str = 0
    pedestrians: Annotated[int, Field(ge=0)] | str = 0
    parked: Annotated[float, Field(ge=0, le=1)] = 0.3
    emergencies: Annotated[float, Field(ge=0, le=60)] = 6.0

    @model_validator(mode="after")
    def _can_be_made(self) -> TrafficSpec:
        try:
            self.options(0)
        except AerialWorldError as error:
            raise _refused(str(error)) from error
        return self

    def options(self, seed: int) -> TrafficOptions:
        """The traffic of a session with this seed."""
        return TrafficOptions.from_dict({**self.model_dump(), "seed": seed})


class GridSpec(Part):
    """The voxel grid around the vehicle."""

    range: Annotated[tuple[float, float, float, float, float, float], BeforeValidator(_listed)] = (
        -40.0, -40.0, -2.0, 40.0, 40.0, 150.0,
    )  # fmt: skip
    voxel_size: Annotated[tuple[float, float, float], BeforeValidator(_listed)] = DEFAULT_GRID.voxel_size

    @model_validator(mode="after")
    def _is_a_grid(self) -> GridSpec:
        try:
            self.grid()
        except AerialWorldError as error:
            raise _refused(str(error)) from error
        return self

    def grid(self) -> VoxelGrid:
        return VoxelGrid.from_range(self.range, self.voxel_size)


class SplitSpec(Part):
    """Shares of the sessions; `by` says what keeps the parts apart."""

    by: Literal["place", "world"] = "place"
    train: Annotated[float, Field(ge=0, le=1)] = 0.8
    val: Annotated[float, Field(ge=0, le=1)] = 0.1
    test: Annotated[float, Field(ge=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _whole(self) -> SplitSpec:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise _refused("train, val and test must add up to 1")
        return self

    def shares(self) -> dict[str, float]:
        """Split → share, those of more than nothing."""
        return {name: getattr(self, name) for name in SPLITS if getattr(self, name) > 0}


#: Per list of tables: the key that a mere text stands for, and an example.
_SHORT_FOR = {"worlds": ("path", "[first, second]"), "missions": ("pattern", "[survey, {pattern: orbit}]")}


def _default_missions() -> tuple[Any, ...]:
    return Survey(pattern="survey"), Orbit(pattern="orbit"), Road(pattern="road")


class Campaign(Part):
    """A campaign file."""

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    worlds: Annotated[tuple[WorldSpec, ...], BeforeValidator(_listed), Field(min_length=1, max_length=1000)]
    sessions: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] | None = None
    missions: Annotated[tuple[MissionSpec, ...], BeforeValidator(_listed), Field(min_length=1, max_length=100)] = Field(
        default_factory=_default_missions
    )
    conditions: Annotated[
        tuple[ConditionSpec, ...], BeforeValidator(_one_or_more), Field(min_length=1, max_length=100)
    ] = (ConditionSpec(),)
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**53)], ...],
        BeforeValidator(_listed),
        Field(min_length=1, max_length=10_000),
    ] = (0,)
    traffic: TrafficSpec | None = None
    frames: Annotated[int, Field(ge=4, le=MAX_FRAMES)] | None = None
    duration: Annotated[float, Field(ge=1, le=36_000)] | None = None
    frame_rate: Annotated[float, Field(ge=0.01, le=100)] = 2.0
    rig: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    grid: GridSpec = GridSpec()
    modalities: Annotated[tuple[Literal["images", "depth", "lidar", "imu"], ...], BeforeValidator(_listed)] = (
        "images",
        "depth",
        "lidar",
        "imu",
    )
    split: SplitSpec = SplitSpec()
    redraws: Annotated[int, Field(ge=0, le=1000)] = 30
    validate_sessions: Annotated[bool, Field(alias="validate")] = True
    truth_frames: Annotated[int, Field(ge=0, le=1000)] = 2
    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,59}$")] | None = None

    @field_validator("worlds", "missions", mode="before")
    @classmethod
    def _by_one_key(cls, value: Any, field: ValidationInfo) -> Any:
        """`worlds: [folder]` is short for `worlds: [{path: folder}]`, and so on."""
        key, example = _SHORT_FOR[str(field.field_name)]
        if not isinstance(value, list | tuple):
            raise _refused(f"is a list: {example}")
        return tuple({key: v} if isinstance(v, str) else v for v in value)

    @model_validator(mode="after")
    def _consistent(self) -> Campaign:
        if self.frames is not None and self.duration is not None:
            raise _refused("frames and duration say the same; give one of them")
        if "depth" not in self.modalities:
            raise _refused("modalities need depth, because occupancy is projected from it")
        if self.frame_count < 4 or self.frame_count > MAX_FRAMES:
            raise _refused("duration and frame_rate must give 4 to 1,000,000 frames per session")
        for what, names in (("missions", self.mission_names), ("seeds", self.seeds)):
            twice = [n for n in names if list(names).count(n) > 1]
            if twice:
                raise _refused(f"{what}: {twice[0]} is there twice; give a name of its own")
        if self.sessions is None and self.cells > MAX_SESSIONS:
            raise _refused(f"asks for {self.cells} sessions; 100000 are the most")
        return self

    @property
    def mission_names(self) -> tuple[str, ...]:
        """The missions' names; one without is called by its pattern, and by its number where the pattern repeats."""
        patterns = [m.pattern for m in self.missions]
        names, seen = [], dict.fromkeys(_PATTERNS, 0)
        for mission in self.missions:
            seen[mission.pattern] += 1
            numbered = f"{mission.pattern}{seen[mission.pattern]}" if patterns.count(mission.pattern) > 1 else ""
            names.append(mission.name or numbered or mission.pattern)
        return tuple(names)

    @property
    def cells(self) -> int:
        """Sessions when `sessions` is not given: every world, mission (`count` times), condition and seed."""
        return len(self.worlds) * sum(m.count for m in self.missions) * len(self.conditions) * len(self.seeds)

    @property
    def frame_count(self) -> int:
        """Frames per session."""
        if self.duration is not None:
            return int(self.duration * self.frame_rate + 1e-9) + 1
        return 100 if self.frames is None else self.frames

    @property
    def period_ns(self) -> int:
        """Nanoseconds of simulation time between frames."""
        return round(1e9 / self.frame_rate)

    @property
    def flight_seconds(self) -> float:
        """How long a plan must be for all frames: in tenths of a second, as plans have their knots."""
        exact = (self.frame_count - 1) * self.period_ns
        return max(0.3, -(-exact // 100_000_000) / 10)


def read_campaign(path: Path) -> Campaign:
    """Raises CampaignError that names the file and every key that is wrong."""
    return parse_campaign(read_yaml(path), str(path))


def parse_campaign(data: Any, source: str) -> Campaign:
    """A campaign of plain data. Raises CampaignError that begins with `source`."""
    try:
        return Campaign.model_validate(data)
    except ValidationError as error:
        lines = [f"{_where(e['loc'])}{_what(e)}" for e in error.errors()]
        if len(lines) > 1:
            raise CampaignError(f"{source}: " + "".join(f"\n  {line}" for line in lines)) from error
        raise CampaignError(f"{source}: {lines[0]}") from error


def _where(location: tuple[int | str, ...]) -> str:
    """`missions[1].altitude: ` of pydantic's location."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in _PATTERNS and not step.startswith(("function-", "tuple[")):
            text += f".{step}" if text else step
    return f"{text}: " if text else ""


def _what(error: Any) -> str:
    """Pydantic's message, in our words where its are about Python."""
    kind, context = error["type"], error.get("ctx", {})
    value = shown(error.get("input"))
    if kind == "union_tag_invalid":
        return f"unknown pattern {context.get('tag')}; {instead_of(context.get('tag'), _PATTERNS, 0.4)}"
    if kind == "union_tag_not_found":
        return f"needs a pattern: {', '.join(_PATTERNS)}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        return f"{value} is none of {context.get('expected')}"
    if kind == "string_pattern_mismatch":
        return f"{value} does not have the form {_forms(str(context.get('pattern')))}"
    message = str(error["msg"])
    message = re.sub(r"^Input should be (a |an )?(valid )?", r"must be \1", message)
    if kind == _OURS:
        return message
    return f"{message[0].lower()}{message[1:]}, not {value}"


def _forms(pattern: str) -> str:
    known = {
        r"^([01]\d|2[0-3]):[0-5]\d$": '"HH:MM"',
        r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$": "YYYY-MM-DD",
        r"^[^\W_][\w.+-]{0,59}$": "of a name: letters, digits, _ . + -, at most 60",
        r"^[a-z][a-z0-9_]{0,63}$": "drone_1 (a-z, 0-9, _)",
        r"^[a-z0-9][a-z0-9.+-]{0,59}$": "cc-by-4.0",
    }
    return known.get(pattern, pattern)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return {"str": "text", "list": "a list", "int": "a number", "float": "a number", "bool": "true or false"}.get(
        type(value).__name__, type(value).__name__
    )
