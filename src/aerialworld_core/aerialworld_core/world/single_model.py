"""An SDF file that holds one model, a vehicle or another body: its links, and the frame in which they are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.resources import model_path
from aerialworld_core.world.sdf import Notes, inverse, read_document
from aerialworld_core.world.tree import Model, PlacedLink
from aerialworld_core.world.uris import Files, Resolved


@dataclass(frozen=True, eq=False)
class SingleModel:
    """The model of `file` with its `links`, includes followed. `from_root` (4, 4) takes the model's frame to
    `base_link`, or is the identity where it has no such link; `files` has the file counted among those in use."""

    file: Path
    name: str
    links: list[PlacedLink]
    from_root: Array
    files: Files
    notes: Notes


def open_model(source: str | Path, what: str) -> SingleModel:
    """The only model of a shipped model (by name), or of a model's SDF file or folder.

    Raises WorldError for a file with another number of models, which names `what` kind of file needs one, or for two
    links named base_link.
    """
    file = model_file(source)
    document = read_document(file)
    models = document.element.findall("model")
    if len(models) != 1:
        raise WorldError(f"{file}: holds {len(models)} models; a {what} needs one")
    files, notes = Files(document.folder), Notes()
    files.use(Resolved(document.path, document.root, document.path.name))
    name = str(models[0].get("name") or file.stem)
    links = list(Model(document, models[0], files, notes).links(np.eye(4), name=name))
    bases = [link for link in links if link.element.get("name") == "base_link"]
    if len(bases) > 1:
        raise WorldError(f"{file}: has {len(bases)} links named base_link; need one")
    return SingleModel(file, name, links, inverse(bases[0].matrix) if bases else np.eye(4), files, notes)


def model_file(source: str | Path) -> Path:
    """The SDF file of a model that is given by name (shipped, or found by `resources.model_path`), file or folder."""
    text = str(source)
    if isinstance(source, str) and "/" not in text and "\\" not in text and not text.endswith(".sdf"):
        return model_path(text)
    path = Path(source)
    return path / "model.sdf" if path.is_dir() else path
