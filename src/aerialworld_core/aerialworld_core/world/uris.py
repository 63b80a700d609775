"""Which file an SDF uri means, and which it may not mean; every file that is used is kept for the content hash."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.resources import DESCRIPTION, model_path, share
from aerialworld_core.world.sdf import Document

_MODEL_URI = re.compile(r"model://([A-Za-z0-9][A-Za-z0-9_.\- ]*)(?:/(.*))?")

#: Files of more bytes are worth a thread that hashes them.
_LARGE = 4 * 1024 * 1024


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
    _folders: dict[str, tuple[Path, str]] = field(default_factory=dict)
    _digests: dict[str, Future[str]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor | None = None

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
            if match[1] not in self._folders:
                self._folders[match[1]] = self._model_folder(match[1], uri, context)
            inside, looked = self._folders[match[1]]
            looked_for = f"; looked for the model in {looked}"
            below = (match[2] or "").lstrip("/")
            path = (inside / PurePosixPath(below)).resolve() if below else inside
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

    def beside(self, referrer: Resolved, folder: Path, name: str) -> Resolved | None:
        """The file `name` in `folder`, which `referrer` asks for; None where it is missing or may not be reached."""
        if not name or name.startswith(("/", "~")) or re.search(r"[\\\x00]|^[A-Za-z][A-Za-z0-9+.\-]*:", name):
            return None
        path = (folder / PurePosixPath(name)).resolve()
        if not path.is_relative_to(referrer.root) or not path.is_file():
            return None
        outer = referrer.name.removesuffix(referrer.path.relative_to(referrer.root).as_posix())
        return Resolved(path, referrer.root, outer + path.relative_to(referrer.root).as_posix())

    @staticmethod
    def shipped(path: Path) -> bool:
        """Whether a (resolved) file is part of the models and worlds that AerialWorld ships."""
        for package in (DESCRIPTION, "aerialworld_worlds"):
            try:
                folder = share(package)
            except InputError:
                continue  # that package is not installed here
            if path.is_relative_to(folder):
                return True
        return False

    def use(self, resolved: Resolved) -> None:
        """Count a file among those that make up the content; within `with`, a large one is hashed on a thread."""
        if resolved.name in self.used:
            return
        self.used[resolved.name] = resolved.path
        if self._pool is not None and resolved.path.stat().st_size > _LARGE:
            self._digests[resolved.name] = self._pool.submit(_digest, resolved.path)

    def __enter__(self) -> Files:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def sha256(self) -> str:
        """Hash over names and contents of the used files, independent of the order of use."""
        total = hashlib.sha256()
        for name in sorted(self.used):
            begun = self._digests.get(name)
            digest = begun.result() if begun is not None else _digest(self.used[name])
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


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise WorldError(f"{path}: cannot read this file: {error.strerror}") from error


def _outer(document: Document) -> str:
    """`model://name` of a document outside the world's folder."""
    return "/".join(document.name.split("/")[:3]) if document.name.startswith("model://") else document.folder.name
