"""Packaging of aerialworld_worlds: an ament_python package that pip installs as well."""

from pathlib import Path

from setuptools import setup

NAME = "aerialworld_worlds"
HERE = Path(__file__).resolve().parent
SKIP = {"resource", "test", "build", "__pycache__"}


def share_files():
    """Every file below this folder's data directories, under share/<package>, keeping its relative path."""
    entries = [("share/ament_index/resource_index/packages", [f"resource/{NAME}"]), (f"share/{NAME}", ["package.xml"])]
    for folder in sorted(p for p in HERE.rglob("*") if p.is_dir()):
        relative = folder.relative_to(HERE)
        if any(part in SKIP or part.startswith(".") or part.endswith(".egg-info") for part in relative.parts):
            continue
        files = sorted(str(f.relative_to(HERE)) for f in folder.iterdir() if f.is_file())
        if files:
            entries.append((f"share/{NAME}/{relative}", files))
    files = sorted(
        f.name for f in HERE.iterdir() if f.is_file() and f.suffix in {".md", ".py", ".rviz"} and f.name != "setup.py"
    )
    if files:
        entries.append((f"share/{NAME}", files))
    return entries


setup(
    name=NAME,
    version="0.1.0",
    description="Ready worlds of AerialWorld.",
    license="Apache-2.0",
    maintainer="AerialWorld maintainers",
    maintainer_email="maintainers@aerialworld.dev",
    packages=[],
    py_modules=[],
    python_requires=">=3.11",
    data_files=share_files(),
    zip_safe=False,
)
