"""Packaging of aerialworld_core: an ament_python package that pip installs as well."""

from setuptools import find_packages, setup

NAME = "aerialworld_core"
setup(
    name=NAME,
    version="0.1.0",
    description="Shared words of AerialWorld: frames, grid, rig, labels, topics, sessions, worlds.",
    license="Apache-2.0",
    maintainer="AerialWorld maintainers",
    maintainer_email="maintainers@aerialworld.dev",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.css", "**/*.svg", "**/*.xml"]},
    python_requires=">=3.11",
    install_requires=["numpy>=2.0", "isal>=1.7"],
    extras_require={
        "world": [
            "embreex>=4.4,<5",
            "lxml>=6.1.1",
            "llvmlite>=0.44",
            "scipy>=1.13",
            "pillow>=13.0.0",
            "pymap3d>=3.1",
        ],
        "mavlink": ["pymavlink>=2.4.50"],
    },
    entry_points={},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    zip_safe=False,
)
