"""The import rules of docs/architecture.md, kept by reading every module's imports."""

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "aerialworld_core": ROOT / "src/aerialworld_core/aerialworld_core",
    "aerialworld_city": ROOT / "src/aerialworld_city/aerialworld_city",
    "aerialworld_sim": ROOT / "src/aerialworld_sim/aerialworld_sim",
    "aerialworld_missions": ROOT / "src/aerialworld_missions/aerialworld_missions",
    "aerialworld_recorder": ROOT / "src/aerialworld_recorder/aerialworld_recorder",
    "aerialworld_training": ROOT / "training/aerialworld_training",
    "aerialworld": ROOT / "src/aerialworld/aerialworld",
}
ROS_MODULES = {
    "rclpy", "rcl_interfaces", "builtin_interfaces", "rosgraph_msgs", "std_msgs", "std_srvs", "geometry_msgs",
    "sensor_msgs", "nav_msgs", "diagnostic_msgs", "tf2_msgs", "tf2_ros", "cv_bridge", "ament_index_python",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Top-level names that a module imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def of_ros(name: str) -> bool:
    return name in ROS_MODULES | {"launch", "launch_ros"} or name.endswith(("_msgs", "_interfaces"))


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_package_xml_names_what_is_imported(package: str) -> None:
    """Of ROS and of ours: what `rosdep` installs and `colcon` orders by."""
    root = ElementTree.parse(PACKAGES[package].parent / "package.xml").getroot()  # noqa: S314 - our own file
    named = {e.text for e in root if e.tag.endswith("depend")}
    used = {name for path in PACKAGES[package].rglob("*.py") for name in imported(path)}
    assert {name for name in used if of_ros(name) or name in PACKAGES} - {package} <= named


def allowed_siblings(package: str) -> set[str]:
    if package == "aerialworld":
        return set(PACKAGES) - {"aerialworld"}
    return {package} if package == "aerialworld_core" else {package, "aerialworld_core"}


def modules() -> list[tuple[str, Path]]:
    return [(name, path) for name, folder in PACKAGES.items() for path in sorted(folder.rglob("*.py"))]


def test_every_package_has_modules() -> None:
    found = {name for name, _ in modules()}
    assert found == set(PACKAGES)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_siblings(package: str) -> None:
    """core imports no sibling; the stages import only core; nobody imports aerialworld."""
    for path in sorted(PACKAGES[package].rglob("*.py")):
        wrong = (imported(path) & set(PACKAGES)) - allowed_siblings(package) - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_ros_and_torch_stay_in_their_rooms(package: str) -> None:
    for path in sorted(PACKAGES[package].rglob("*.py")):
        names = imported(path)
        in_node = path.name == "node.py" or "nodes" in path.relative_to(PACKAGES[package]).parts
        assert in_node or not names & ROS_MODULES, f"{path.relative_to(ROOT)} imports ROS outside a node"
        assert package == "aerialworld_training" or "torch" not in names or path.name == "doctor.py", (
            f"{path.relative_to(ROOT)} imports torch outside training"
        )


def test_stages_are_imported_by_subcommands_only() -> None:
    """Importing the command must not import a stage: a GPU host has no Embree, a robot no torch."""
    import subprocess
    import sys

    code = (
        "import sys, aerialworld.cli; "
        "stages = {'aerialworld_city','aerialworld_sim','aerialworld_missions','aerialworld_recorder',"
        "'aerialworld_training','torch','embreex','trimesh','lxml','numba','llvmlite','rclpy'}; "
        "print(sorted(stages & {m.split('.')[0] for m in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
