# syntax=docker/dockerfile:1
# Gazebo, ArduPilot and ROS 2: the reference way to run. Built from the repository's root:
#   docker build -f docker/sim.Dockerfile -t aerialworld-sim .
FROM ros:jazzy-ros-base-noble AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libegl1 libgl1-mesa-dri procps python3-venv ros-jazzy-compressed-image-transport ros-jazzy-ros-gz \
      ros-jazzy-rosbag2-storage-mcap ros-jazzy-tf2-msgs tini \
 && rm -rf /var/lib/apt/lists/*

# ArduPilot's SITL and its plugin for Gazebo, from the versions of scripts/workspace.repos.
FROM base AS stack
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      build-essential ccache cmake git libgstreamer-plugins-base1.0-dev libgstreamer1.0-dev libopencv-dev python3-dev \
      python3-vcstool rapidjson-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/stack
COPY scripts/workspace.repos .
RUN mkdir src && vcs import --input workspace.repos src \
 && git -C src/ardupilot submodule update --init --recursive --depth 1
RUN source /opt/ros/jazzy/setup.bash \
 && cmake -S src/ardupilot_gazebo -B build/ardupilot_gazebo -DCMAKE_BUILD_TYPE=RelWithDebInfo \
 && cmake --build build/ardupilot_gazebo --parallel
WORKDIR /opt/stack/src/ardupilot
RUN python3 -m venv /opt/stack/venv \
 && /opt/stack/venv/bin/pip install --no-cache-dir empy==3.3.4 pexpect==4.9.0 lxml==6.1.1 future==1.0.0 'setuptools<80' \
 && PATH="/opt/stack/venv/bin:$PATH" ./waf configure --board sitl \
 && PATH="/opt/stack/venv/bin:$PATH" ./waf copter rover

FROM base
RUN useradd --create-home --uid 10001 aerialworld \
 && install -d -o aerialworld /data /worlds
COPY --from=stack /opt/stack/src/ardupilot/build/sitl/bin/arducopter /opt/stack/src/ardupilot/build/sitl/bin/ardurover /opt/ardupilot/
COPY --from=stack /opt/stack/build/ardupilot_gazebo/libArduPilotPlugin.so /opt/ardupilot_gazebo/
COPY --chown=aerialworld . /home/aerialworld/aerialworld
USER 10001
WORKDIR /home/aerialworld/aerialworld
# Beside ROS's own Python packages, and without PyTorch.
RUN python3 -m venv --system-site-packages .venv \
 && .venv/bin/pip install --no-cache-dir -c constraints.txt setuptools wheel colcon-common-extensions \
 && .venv/bin/pip install --no-cache-dir -c constraints.txt --no-build-isolation \
      -e 'src/aerialworld_core[world]' -e src/aerialworld_city -e 'src/aerialworld_sim[autopilot,gazebo]' \
      -e src/aerialworld_missions -e 'src/aerialworld_recorder[bags]' -e models -e worlds -e launch \
      -e 'src/aerialworld[local,bags]' \
 && source /opt/ros/jazzy/setup.bash && source .venv/bin/activate \
 && colcon build --packages-skip aerialworld_training
ENV PATH=/opt/ardupilot:$PATH \
    GZ_SIM_SYSTEM_PLUGIN_PATH=/opt/ardupilot_gazebo \
    NUMBA_CACHE_DIR=/tmp/numba \
    ROS_HOME=/tmp/ros
VOLUME ["/data", "/worlds"]
HEALTHCHECK --interval=30s --timeout=20s --start-period=120s --retries=3 CMD ["docker/entrypoint.sh", "health"]
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "docker/entrypoint.sh"]
CMD ["gazebo"]
