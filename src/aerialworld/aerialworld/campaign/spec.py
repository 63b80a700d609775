"""What a campaign file may say: names, bounds, defaults. Everything else is an error that names file and key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from aerialworld.campaign.missions import PATTERNS, MissionSpec, Orbit, Road, Survey
from aerialworld.campaign.parts import OURS, Name, Number, Part, listed, one_or_more, refused
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


class ConvertSpec(Part):
    """Which part of a source is converted, as the options of `aerialworld city convert`."""

    mesh: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    bbox: Annotated[tuple[float, float, float, float], BeforeValidator(listed)] | None = None
    around: Annotated[tuple[float, float], BeforeValidator(listed)] | None = None
    radius: Annotated[float, Field(gt=0, le=200_000)] = 300.0
    lod: Literal["auto", "1", "2", "3"] = "auto"
    crs: Annotated[int, Field(ge=1, le=999_999)] | None = None
    modules: Annotated[tuple[str, ...], BeforeValidator(listed)] | None = None

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
    region: Annotated[tuple[float, float, float, float], BeforeValidator(listed)] | None = None
    split: SplitName | None = None
    convert: ConvertSpec | None = None

    @field_validator("region")
    @classmethod
    def _box(cls, value: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if value is not None and not (value[0] < value[2] and value[1] < value[3] and max(map(abs, value)) < 1e6):
            raise refused("is [west, south, east, north], metres in map, rising")
        return value


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
            raise refused(str(error)) from error
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
            raise refused(str(error)) from error
        return self

    def options(self, seed: int) -> TrafficOptions:
        """The traffic of a session with this seed."""
        return TrafficOptions.from_dict({**self.model_dump(), "seed": seed})


class GridSpec(Part):
    """The voxel grid around the vehicle."""

    range: Annotated[tuple[float, float, float, float, float, float], BeforeValidator(listed)] = (
        -40.0, -40.0, -2.0, 40.0, 40.0, 150.0,
    )  # fmt: skip
    voxel_size: Annotated[tuple[float, float, float], BeforeValidator(listed)] = DEFAULT_GRID.voxel_size

    @model_validator(mode="after")
    def _is_a_grid(self) -> GridSpec:
        try:
            self.grid()
        except AerialWorldError as error:
            raise refused(str(error)) from error
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
            raise refused("train, val and test must add up to 1")
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
    worlds: Annotated[tuple[WorldSpec, ...], BeforeValidator(listed), Field(min_length=1, max_length=1000)]
    sessions: Annotated[int, Field(ge=1, le=MAX_SESSIONS)] | None = None
    missions: Annotated[tuple[MissionSpec, ...], BeforeValidator(listed), Field(min_length=1, max_length=100)] = Field(
        default_factory=_default_missions
    )
    conditions: Annotated[
        tuple[ConditionSpec, ...], BeforeValidator(one_or_more), Field(min_length=1, max_length=100)
    ] = (ConditionSpec(),)
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**53)], ...],
        BeforeValidator(listed),
        Field(min_length=1, max_length=10_000),
    ] = (0,)
    traffic: TrafficSpec | None = None
    frames: Annotated[int, Field(ge=4, le=MAX_FRAMES)] | None = None
    duration: Annotated[float, Field(ge=1, le=36_000)] | None = None
    frame_rate: Annotated[float, Field(ge=0.01, le=100)] = 2.0
    rig: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    grid: GridSpec = GridSpec()
    modalities: Annotated[tuple[Literal["images", "depth", "lidar", "imu"], ...], BeforeValidator(listed)] = (
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
            raise refused(f"is a list: {example}")
        return tuple({key: v} if isinstance(v, str) else v for v in value)

    @model_validator(mode="after")
    def _consistent(self) -> Campaign:
        if self.frames is not None and self.duration is not None:
            raise refused("frames and duration say the same; give one of them")
        if "depth" not in self.modalities:
            raise refused("modalities need depth, because occupancy is projected from it")
        if self.frame_count < 4 or self.frame_count > MAX_FRAMES:
            raise refused("duration and frame_rate must give 4 to 1,000,000 frames per session")
        for what, names in (("missions", self.mission_names), ("seeds", self.seeds)):
            twice = [n for n in names if list(names).count(n) > 1]
            if twice:
                raise refused(f"{what}: {twice[0]} is there twice; give a name of its own")
        if self.sessions is None and self.cells > MAX_SESSIONS:
            raise refused(f"asks for {self.cells} sessions; 100000 are the most")
        return self

    @property
    def mission_names(self) -> tuple[str, ...]:
        """The missions' names; one without is called by its pattern, and by its number where the pattern repeats."""
        patterns = [m.pattern for m in self.missions]
        names, seen = [], dict.fromkeys(PATTERNS, 0)
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
        elif step not in PATTERNS and not step.startswith(("function-", "tuple[")):
            text += f".{step}" if text else step
    return f"{text}: " if text else ""


def _what(error: Any) -> str:
    """Pydantic's message, in our words where its are about Python."""
    kind, context = error["type"], error.get("ctx", {})
    value = shown(error.get("input"))
    if kind == "union_tag_invalid":
        return f"unknown pattern {context.get('tag')}; {instead_of(context.get('tag'), PATTERNS, 0.4)}"
    if kind == "union_tag_not_found":
        return f"needs a pattern: {', '.join(PATTERNS)}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        return f"{value} is none of {context.get('expected')}"
    if kind == "string_pattern_mismatch":
        return f"{value} does not have the form {_forms(str(context.get('pattern')))}"
    message = str(error["msg"])
    message = re.sub(r"^Input should be (a |an )?(valid )?", r"must be \1", message)
    if kind == OURS:
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
