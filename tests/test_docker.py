"""The images are not built here: that their files name what exists, and that the entry script runs what it is told."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest) with continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_images_are_built_from_what_exists_and_run_as_a_user(path):
    found = instructions(path)
    names = [name for name, _ in found]
    for name, rest in found:
        if name == "COPY" and "--from" not in rest:
            *sources, _ = [word for word in rest.split() if not word.startswith("--")]
            assert all((ROOT / source).exists() for source in sources), rest
        if name == "FROM" and " AS " not in rest:
            assert rest in {"base", "stack"} or ":" in rest  # an image with its tag
        if name in ("ENTRYPOINT", "CMD", "VOLUME"):
            assert rest.startswith("["), "exec form, so that signals arrive"
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT", "VOLUME"} <= set(names)
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert [rest for name, rest in found if name == "USER"] == ["10001"]
    # What is installed is cleaned up in the same layer.
    for name, rest in found:
        if name == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists/*" in rest
        if name == "RUN" and "pip install" in rest:
            assert all("--no-cache-dir" in part for part in rest.split("&&") if "pip install" in part)


def test_packages_that_images_install_exist():
    for path in FILES:
        installed = re.findall(r"(?:-e '?|\./)(src/\w+|models|worlds|launch|training)\b", path.read_text())
        assert len(installed) >= 2
        assert all((ROOT / package / "setup.py").is_file() for package in installed)


def test_compose_has_the_profiles_that_are_promised():
    services = COMPOSE["services"]
    assert set(services) == {"record", "record-embedded", "train", "tensorboard"}
    for name, service in services.items():
        assert service["profiles"] == [name]
        assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
        assert service.get("network_mode") == "none" or all(p.startswith("127.0.0.1:") for p in service["ports"])
    readme = (ROOT / "docker/README.md").read_text()
    assert all(f"--profile {name} " in readme for name in services)


@pytest.fixture
def image(tmp_path):
    """The tree as it lies in the image, with a ros2 that writes down what it is told."""
    for name in ("docker", "scripts", "worlds"):
        (tmp_path / name).symlink_to(ROOT / name)
    tool = tmp_path / "bin/ros2"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    tool.chmod(0o755)

    def run(*words):
        return subprocess.run(
            ["bash", str(tmp_path / "docker/entrypoint.sh"), *words],
            capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)},
        )  # fmt: skip

    return run


@pytest.mark.parametrize("service", ["record", "record-embedded"])
def test_services_record_headless_as_fast_as_they_can(image, service):
    command = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in COMPOSE["services"][service]["command"]]
    result = image(*command)
    assert result.returncode == 0, result.stderr
    given = dict(line.split(":=", 1) for line in result.stdout.splitlines() if ":=" in line)
    assert given["engine"] == ("embedded" if "embedded" in service else "gazebo")
    assert (given["record"], given["headless"], given["fast"]) == ("true", "true", "true")
    assert (given["world"], given["data_root"]) == ("/worlds/small_city", "/data")
    assert (given["drones"], given["rovers"]) == ("1", "1")


def test_any_command_runs_as_it_is(image):
    result = image("sh", "-c", 'echo "$0 $1"; exit 7', "a b")
    assert (result.returncode, result.stdout) == (7, "a b \n")


def test_without_a_command_gazebo_is_meant(image):
    assert "engine:=gazebo" in image().stdout
