# syntax=docker/dockerfile:1
# Training on a GPU host: PyTorch with the CUDA libraries of its wheels, no ROS, no Embree. From the repository's root:
#   docker build -f docker/train.Dockerfile -t aerialworld-train .
FROM python:3.12-slim-bookworm
RUN useradd --create-home --uid 10001 aerialworld \
 && install -d -o aerialworld /data /runs
WORKDIR /opt/aerialworld
COPY constraints.txt .
# PyTorch first: it changes seldom, and is most of the image.
RUN pip install --no-cache-dir -c constraints.txt torch tensorboard
COPY src/aerialworld_core src/aerialworld_core
COPY training training
RUN pip install --no-cache-dir -c constraints.txt setuptools wheel \
 && pip install --no-cache-dir -c constraints.txt --no-build-isolation ./src/aerialworld_core ./training
USER 10001
WORKDIR /runs
VOLUME ["/data", "/runs"]
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import torch, aerialworld_training, sys; sys.exit(0 if torch.cuda.is_available() else 'no CUDA device')"]
ENTRYPOINT ["python", "-m", "aerialworld_training.train"]
CMD ["--help"]
