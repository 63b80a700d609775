"""Packaging of aerialworld_training: an ament_python package that pip installs as well."""

from setuptools import find_packages, setup

NAME = "aerialworld_training"
setup(
    name=NAME,
    version="0.1.0",
    description="OccWorld for the air: data sets, model, training and evaluation.",
    license="Apache-2.0",
    maintainer="AerialWorld maintainers",
    maintainer_email="maintainers@aerialworld.dev",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.css", "**/*.svg", "**/*.yaml", "configs/*.py"]},
    python_requires=">=3.11",
    install_requires=["aerialworld_core", "torch>=2.11", "tensorboard>=2.18", "PyYAML>=6.0"],
    extras_require={
        "images": ["simplejpeg>=1.8"],
        "safetensors": ["safetensors>=0.5"],
        "onnx": ["onnx>=1.19", "onnxscript>=0.5", "onnxruntime>=1.23"],
    },
    entry_points={},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    zip_safe=False,
)
