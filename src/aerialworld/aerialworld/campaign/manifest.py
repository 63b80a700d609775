"""manifest.json: the whole campaign as it will be made, written before the first job and the same for equal inputs.

It holds no wall time, host or absolute path. Whoever has the manifest, the plans, the worlds and the rigs can make any
one of its sessions, and gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerialworld.campaign.jobs import Job
from aerialworld.campaign.places import Place
from aerialworld.campaign.spec import Campaign
from aerialworld_core.errors import InputError
from aerialworld_core.files import read_json, write_json
from aerialworld_core.provenance import versions

SCHEMA_VERSION = 1
FILE = "manifest.json"
#: Installed packages that sessions depend on.
_PACKAGES = (
    "aerialworld", "aerialworld_core", "aerialworld_sim", "aerialworld_missions", "aerialworld_recorder",
    "numpy", "scipy", "llvmlite", "embreex", "lxml", "pillow", "simplejpeg",
)  # fmt: skip
#: Differences that are told, of however many.
_TOLD = 8


@dataclass(frozen=True)
class WorldEntry:
    """A world: name in the campaign, content, place on earth, whose data it is, and its places."""

    name: str
    sha256: str
    latitude: float
    longitude: float
    attribution: str
    bounds: list[list[float]]
    places: list[Place]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sha256": self.sha256,
            "georeference": {"latitude": self.latitude, "longitude": self.longitude},
            "attribution": self.attribution,
            "bounds": self.bounds,
            "places": [p.to_dict() for p in self.places],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorldEntry:
        at = data["georeference"]
        return cls(
            data["name"], data["sha256"], at["latitude"], at["longitude"], data["attribution"], data["bounds"],
            [Place.from_dict(p) for p in data["places"]],
        )  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """`asked` is the campaign with all its defaults, `made_with` the versions that matter, `rigs` name → sha256."""

    asked: dict[str, Any]
    made_with: dict[str, str]
    rigs: dict[str, str]
    worlds: list[WorldEntry]
    notes: list[str] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "campaign": self.asked,
            "versions": self.made_with,
            "rigs": self.rigs,
            "worlds": [w.to_dict() for w in self.worlds],
            "notes": self.notes,
            "jobs": [j.to_dict() for j in self.jobs],
        }

    def inputs(self) -> dict[str, Any]:
        """What the rest follows from."""
        return {
            "campaign": self.asked,
            "versions": self.made_with,
            "rigs": self.rigs,
            "worlds": {w.name: w.sha256 for w in self.worlds},
        }

    def write(self, root: Path) -> None:
        write_json(root / FILE, self.to_dict())

    @classmethod
    def read(cls, root: Path) -> Manifest | None:
        """The manifest of an output folder, None where there is none. Raises InputError for one that is broken."""
        path = root / FILE
        try:
            data = read_json(path)
            if data["schema_version"] != SCHEMA_VERSION:
                raise InputError(f"{path}: schema_version {data['schema_version']!r} is not {SCHEMA_VERSION}")
            return cls(
                data["campaign"], data["versions"], data["rigs"], [WorldEntry.from_dict(w) for w in data["worlds"]],
                data["notes"], [Job.from_dict(j) for j in data["jobs"]],
            )  # fmt: skip
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: is no manifest of a campaign ({error!r}); choose another --out") from error


def asked_of(campaign: Campaign, names: list[str]) -> dict[str, Any]:
    """The campaign as plain data with every default written out and worlds by name: no path of this machine."""
    data = campaign.model_dump(mode="json", by_alias=True)
    for entry, name in zip(data["worlds"], names, strict=True):
        entry["path"], entry["name"] = name, name
    data["rig"] = _named(data["rig"])
    for mission, name in zip(data["missions"], campaign.mission_names, strict=True):
        mission["name"], mission["rig"] = name, _named(mission["rig"])
    data["modalities"] = sorted(data["modalities"])
    return dict(data)


def _named(rig: str | None) -> str | None:
    return None if rig is None else rig_name(rig)


def rig_name(choice: str) -> str:
    """A rig as the manifest calls it: a shipped model's name, or the file's."""
    return Path(choice).name if is_file_name(choice) else choice


def is_file_name(choice: str) -> bool:
    """Whether a rig is given as a file or folder, and not by a shipped model's name."""
    return "/" in choice or choice.endswith(".sdf")


def relevant_versions() -> dict[str, str]:
    return {k: v for k, v in versions().items() if k in _PACKAGES}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the inputs of two manifests, in words: `frames: 100 → 200`."""
    found = list(_differing(before, now, ""))
    more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    return found[:_TOLD] + more


def _differing(before: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(k for k in now if k not in before)]:
            yield from _differing(before.get(key), now.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (a, b) in enumerate(zip(before, now, strict=True)):
            yield from _differing(a, b, f"{where}[{index}]")
    elif before != now:
        yield f"{where.removeprefix('campaign.')}: {_brief(before)} → {_brief(now)}"


def _brief(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]  # a hash
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 50 else text[:47] + "…"
