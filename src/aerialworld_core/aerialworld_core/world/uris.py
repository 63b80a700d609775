"""Which file an SDF uri means, and which it may not mean; every file that is used is kept for the content hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.resources import model_path
from aerialworld_core.world.sdf import Document

_MODEL_URI = re.compile(r"model://([A-Za-z0-9][A-Za-z0-9_.\- ]*)(?:/(.*))?")


@dataclass(frozen=True)
class Resolved:
    """A file or folder; what it refers to in turn may not leave `root`. `name` is its path relative to the world's
    folder, or its model:// uri."""

    path: Path
    root: Path
    name: str


@dataclass(eq=False)
class Files:
    """Finds files by uri, from the folder `base` (resolved) of the world, and remembers those that were used.

    `documents` are the SDF files read so far, `models` the number of models that they made.
    """

    base: Path
    used: dict[str, Path] = field(default_factory=dict)
    documents: dict[Path, Document] = field(default_factory=dict)
    models: int = 0

    def resolve(self, document: Document, uri: str, context: str) -> Resolved:
        """The file or folder that `uri` means in `document`.

        Relative uris start at the document's folder and may not leave `document.root`; `model://name/…` is looked for
        in the world's folder, in its `models/`, then where `resources.model_path` looks, and may not leave that model.
        Raises WorldError, beginning with `context`, for everything else.
        """
        uri = uri.strip()
        if not uri or "\\" in uri or "\x00" in uri:
            raise WorldError(f"{context}: uri {uri!r} is empty or has characters that no path here may have")
        match = _MODEL_URI.fullmatch(uri)
        if match and ".." not in match[1]:
            folder, looked = self._model_folder(match[1], uri, context)
            start, inside, looked_for = folder, folder, f"; looked for the model in {looked}"
            path = (start / PurePosixPath((match[2] or "").lstrip("/"))).resolve()
        elif re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", uri) or uri.startswith(("/", "~")):
            raise WorldError(f"{context}: uri {uri!r}: only model:// and paths relative to the SDF file are read")
        else:
            inside, looked_for = document.root, ""
            path = (document.folder / PurePosixPath(uri)).resolve()
        if not path.is_relative_to(inside):
            raise WorldError(f"{context}: uri {uri!r} leaves the folder {inside}; refused")
        if not path.exists():
            raise WorldError(f"{context}: uri {uri!r}: no such file as {path}{looked_for}")
        if path.is_relative_to(self.base):
            return Resolved(path, self.base, path.relative_to(self.base).as_posix())
        if match:
            return Resolved(
                path, inside, f"model://{match[1]}/{path.relative_to(inside).as_posix()}".removesuffix("/.")
            )
        return Resolved(path, inside, f"{_outer(document)}/{path.relative_to(inside).as_posix()}")

    def use(self, resolved: Resolved) -> None:
        """Count a file among those that make up the content."""
        self.used[resolved.name] = resolved.path

    def sha256(self) -> str:
        """Hash over names and contents of the used files, independent of the order of use."""
        total = hashlib.sha256()
        for name in sorted(self.used):
            with open(self.used[name], "rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            total.update(f"{name}\0{digest}\n".encode())
        return total.hexdigest()

    def _model_folder(self, model: str, uri: str, context: str) -> tuple[Path, str]:
        tried = [self.base / model, self.base / "models" / model]
        for folder in tried:
            if folder.is_dir():
                resolved = folder.resolve()
                if not resolved.is_relative_to(self.base):
                    raise WorldError(f"{context}: uri {uri!r} leaves the folder {self.base}; refused")
                return resolved, str(folder)
        try:
            found = model_path(model).parent.resolve()
        except InputError as error:
            raise WorldError(f"{context}: uri {uri!r}: not in {', '.join(map(str, tried))}; {error}") from error
        return found, str(found)


def _outer(document: Document) -> str:
    """`model://name` of a document outside the world's folder."""
    return "/".join(document.name.split("/")[:3]) if document.name.startswith("model://") else document.folder.name
