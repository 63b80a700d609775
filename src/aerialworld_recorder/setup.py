"""Packaging of aerialworld_recorder: an ament_python package that pip installs as well."""

from setuptools import find_packages, setup

NAME = "aerialworld_recorder"
setup(
    name=NAME,
    version="0.1.0",
    description="Occupancy from depth, and the recorder that writes sessions from ROS 2 topics.",
    license="Apache-2.0",
    maintainer="AerialWorld maintainers",
    maintainer_email="maintainers@aerialworld.dev",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.css", "**/*.svg"]},
    python_requires=">=3.11",
    install_requires=["aerialworld_core", "llvmlite>=0.44", "simplejpeg>=1.8"],
    extras_require={
        "bags": ["rosbags>=0.11", "mcap>=1.3", "zstandard>=0.23", "lz4>=4.4", "PyYAML>=6.0", "pymap3d>=3.1"],
        "ros": [
            "aerialworld_core[world]",
            "ros-jazzy-rclpy; platform_system=='Linux' and platform_machine=='x86_64'",
            "ros-jazzy-rmw-fastrtps-cpp; platform_system=='Linux' and platform_machine=='x86_64'",
            "ros-jazzy-common-interfaces; platform_system=='Linux' and platform_machine=='x86_64'",
        ],
    },
    entry_points={"console_scripts": ["recorder = aerialworld_recorder.nodes.recorder:main"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    zip_safe=False,
)
