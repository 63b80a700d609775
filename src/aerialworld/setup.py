"""Packaging of aerialworld: an ament_python package that pip installs as well."""

from setuptools import find_packages, setup

NAME = "aerialworld"
setup(
    name=NAME,
    version="0.1.0",
    description="The aerialworld command and the in-process pipeline.",
    license="Apache-2.0",
    maintainer="AerialWorld maintainers",
    maintainer_email="maintainers@aerialworld.dev",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.css", "**/*.svg", "campaign/*.md"]},
    python_requires=">=3.11",
    install_requires=["aerialworld_core", "typer>=0.15", "rich>=13", "PyYAML>=6.0"],
    extras_require={
        "local": [
            "aerialworld_core[world]",
            "aerialworld_city",
            "aerialworld_sim[autopilot]",
            "aerialworld_missions",
            "aerialworld_recorder",
            "aerialworld_description",
            "aerialworld_worlds",
            "Jinja2>=3.1.6",
            "matplotlib>=3.9",
            "pydantic>=2.12",
            "PyYAML>=6.0",
            "pillow>=13.0.0",
        ],
        "training": ["aerialworld_training"],
        "bags": ["aerialworld_recorder[bags]"],
        "view": ["rerun-sdk>=0.28"],
        "video": ["av>=16", "Jinja2>=3.1.6", "matplotlib>=3.9", "pillow>=13.0.0"],
    },
    entry_points={
        "console_scripts": ["aerialworld = aerialworld.cli:main", "forecast = aerialworld.nodes.forecast:main"]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    zip_safe=False,
)
