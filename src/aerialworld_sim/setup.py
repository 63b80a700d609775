"""Packaging of aerialworld_sim: an ament_python package that pip installs as well."""

from setuptools import find_packages, setup

NAME = "aerialworld_sim"
setup(
    name=NAME,
    version="0.1.0",
    description="The embedded engine: ray-cast cameras, depth, LiDAR and IMU from SDF worlds.",
    license="Apache-2.0",
    maintainer="AerialWorld maintainers",
    maintainer_email="maintainers@aerialworld.dev",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.css", "**/*.svg", "**/*.xml"]},
    python_requires=">=3.11",
    install_requires=["aerialworld_core[world]", "simplejpeg>=1.8"],
    extras_require={
        "autopilot": ["aerialworld_core[mavlink]"],
        "gazebo": ["PyYAML>=6.0"],
        "gpu": ["warp-lang>=1.19,<2"],
        "ros": [
            "ros-jazzy-rclpy; platform_system=='Linux' and platform_machine=='x86_64'",
            "ros-jazzy-rmw-fastrtps-cpp; platform_system=='Linux' and platform_machine=='x86_64'",
            "ros-jazzy-common-interfaces; platform_system=='Linux' and platform_machine=='x86_64'",
            "ros-jazzy-rosgraph-msgs; platform_system=='Linux' and platform_machine=='x86_64'",
        ],
    },
    entry_points={
        "console_scripts": [
            "engine = aerialworld_sim.nodes.engine:main",
            "pacer = aerialworld_sim.nodes.pacer:main",
            "transforms = aerialworld_sim.nodes.transforms:main",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    zip_safe=False,
)
