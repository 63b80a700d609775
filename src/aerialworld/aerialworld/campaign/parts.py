"""What the parts of a campaign file are made of: tables of known keys, ranges, and messages in our words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from aerialworld_core.entries import instead_of

#: The kind of error that speaks in our words already.
OURS = "campaign"

Name = Annotated[str, Field(pattern=r"^[^\W_][\w.+-]{0,59}$")]


def refused(message: str) -> PydanticCustomError:
    """An error to raise whose text is told as it stands."""
    return PydanticCustomError(OURS, "{message}", {"message": message})


def pair(value: Any) -> Any:
    """A number stands for a range of one value; a list of two is one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return (float(value), float(value))
    if isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value):
        return (float(value[0]), float(value[1]))
    raise refused("is a number, or two in brackets: [lowest, highest]")


def listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def one_or_more(value: Any) -> Any:
    """One table stands for a list of one."""
    return (value,) if isinstance(value, dict) else listed(value)


def between(least: float, most: float) -> AfterValidator:
    """Refuses a range that does not rise or leaves [least, most]."""

    def check(value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not (least <= low <= high <= most):
            raise refused(f"[{low:g}, {high:g}] must rise and lie within {least:g} and {most:g}")
        return value

    return AfterValidator(check)


Number = Annotated[float, Field(ge=-1e9, le=1e9)]
#: [low, high], from which numbers are drawn.
Range = Annotated[tuple[float, float], BeforeValidator(pair)]
Edge = Annotated[Range, between(5.0, 2000.0)]
Spacing = Annotated[Range, between(1.0, 500.0)]
Height = Annotated[Range, between(2.0, 500.0)]
FlightSpeed = Annotated[Range, between(0.5, 20.0)]
DriveSpeed = Annotated[Range, between(0.5, 5.0)]
Radius = Annotated[Range, between(3.0, 1000.0)]
Degrees = Annotated[Range, between(-360.0, 360.0)]
Clearance = Annotated[Range, between(2.0, 50.0)]


class Part(BaseModel):
    """A part of a campaign file: strict types, finite numbers, known keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise refused(f"is a table of keys and values, not {kind_of(data)}")
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known:
                raise refused(f"unknown key {key}; {instead_of(key, known)}")
        return data


def kind_of(value: Any) -> str:
    if value is None:
        return "nothing"
    return {"str": "text", "list": "a list", "int": "a number", "float": "a number", "bool": "true or false"}.get(
        type(value).__name__, type(value).__name__
    )
