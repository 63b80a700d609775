"""Where installed data lies: models, worlds and launch files, whichever way the packages were installed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from aerialworld_core.errors import InputError

DESCRIPTION = "aerialworld_description"

#: Where a data package lies in a source checkout.
_CHECKOUT_FOLDERS = {
    "aerialworld_description": "models",
    "aerialworld_worlds": "worlds",
    "aerialworld_bringup": "launch",
}


def share(package: str) -> Path:
    """The share folder of a package.

    Looked for in this order: the environment variable AERIALWORLD_SHARE_<PACKAGE> (in upper case), the ament index
    (AMENT_PREFIX_PATH), `sys.prefix`/share/<package>, a source checkout around this file. Raises InputError with the
    places that were tried.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", package):
        raise InputError(f"{package!r} is not a package name")
    variable = f"AERIALWORLD_SHARE_{package.upper()}"
    override = os.environ.get(variable)
    if override:
        # An override that points nowhere is a mistake to report, not a reason to use something else.
        if not Path(override).is_dir():
            raise InputError(f"{variable}={override}: no such folder")
        return Path(override).resolve()
    tried = []
    for candidate in _candidates(package):
        tried.append(str(candidate))
        if candidate.is_dir():
            return candidate.resolve()
    raise InputError(
        f"package {package}: its data was not found in {', '.join(tried) or 'any place'}; install it or set {variable}"
    )


def model_path(name: str) -> Path:
    """The `model.sdf` of a model: one that AerialWorld ships, or one in an entry of GZ_SIM_RESOURCE_PATH.

    Raises InputError naming the places that were tried.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\- ]*", name) or ".." in name:
        raise InputError(f"{name!r} is not a model's name")
    folders: list[Path] = []
    problem = ""
    try:
        folders.append(share(DESCRIPTION))
    except InputError as error:
        problem = f" ({error})"
    folders += [Path(p) for p in os.environ.get("GZ_SIM_RESOURCE_PATH", "").split(os.pathsep) if p]
    for folder in folders:
        path = folder / name / "model.sdf"
        if path.is_file():
            return path
    raise InputError(
        f"model {name}: no {name}/model.sdf in {', '.join(map(str, folders)) or 'any place'}{problem}; "
        "set GZ_SIM_RESOURCE_PATH to the folder that holds it"
    )


def _candidates(package: str) -> Iterator[Path]:
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix and (Path(prefix) / "share" / "ament_index" / "resource_index" / "packages" / package).exists():
            yield Path(prefix) / "share" / package
    yield Path(sys.prefix) / "share" / package
    for parent in Path(__file__).resolve().parents:
        folder = parent / _CHECKOUT_FOLDERS.get(package, f"src/{package}")
        manifest = folder / "package.xml"
        if manifest.is_file() and f"<name>{package}</name>" in manifest.read_text(encoding="utf-8"):
            yield folder
            return
