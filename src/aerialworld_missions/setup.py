"""Packaging of aerialworld_missions: an ament_python package that pip installs as well."""

from setuptools import find_packages, setup

NAME = "aerialworld_missions"
setup(
    name=NAME,
    version="0.1.0",
    description="Missions of drones and rovers as collision-free trajectories, and flying them over MAVLink.",
    license="Apache-2.0",
    maintainer="AerialWorld maintainers",
    maintainer_email="maintainers@aerialworld.dev",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.css", "**/*.svg"]},
    python_requires=">=3.11",
    install_requires=["aerialworld_core[world,mavlink]", "matplotlib>=3.9"],
    extras_require={
        "ros": [
            "ros-jazzy-rclpy; platform_system=='Linux' and platform_machine=='x86_64'",
            "ros-jazzy-rmw-fastrtps-cpp; platform_system=='Linux' and platform_machine=='x86_64'",
            "ros-jazzy-common-interfaces; platform_system=='Linux' and platform_machine=='x86_64'",
        ],
    },
    entry_points={
        "console_scripts": [
            f"{pattern} = {NAME}.nodes.mission:{pattern}"
            for pattern in ("survey", "orbit", "corridor", "random", "waypoints", "patrol")
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    zip_safe=False,
)
