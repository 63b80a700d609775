#!/usr/bin/env bash
# Installs what simulation.launch.py needs for engine:=gazebo: ROS 2, Gazebo and ros_gz from apt; ArduPilot's SITL and
# ardupilot_gazebo from source. May be run again: what is there is left alone.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
distro="${ROS_DISTRO:-jazzy}"
stack="${AERIALWORLD_STACK:-$HOME/aerialworld_stack}"
dry_run=false

usage() {
  cat <<'TEXT'
Usage: scripts/install_ardupilot_gazebo_stack.sh [--stack DIR] [--dry-run]

  --stack DIR   where sources are built (default: ~/aerialworld_stack, or $AERIALWORLD_STACK)
  --dry-run     print what would be done, change nothing
  -h, --help    this text

Pairs: jazzy with Gazebo Harmonic on Ubuntu 24.04 (default), kilted with Ionic on 24.04, lyrical with Jetty on 26.04;
choose with ROS_DISTRO. Source versions are in scripts/workspace.repos. Afterwards: source DIR/env.sh
TEXT
}

fail() {
  echo "install_ardupilot_gazebo_stack.sh: $1" >&2
  exit 2
}

while [[ $# -gt 0 ]]; do
  case "$1" in
    --stack)
      [[ $# -ge 2 ]] || fail "--stack needs a folder"
      stack="$2"
      shift
      ;;
    --dry-run) dry_run=true ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1; see --help" ;;
  esac
  shift
done

case "$distro" in
  jazzy) gz_version=harmonic release=24.04 ;;
  kilted) gz_version=ionic release=24.04 ;;
  lyrical) gz_version=jetty release=26.04 ;;
  *) fail "ROS_DISTRO=$distro is not supported; use jazzy, kilted or lyrical" ;;
esac

say() { printf '\n== %s\n' "$1"; }
there() { printf '   there already: %s\n' "$1"; }
# Runs a command, or prints it.
run() {
  if $dry_run; then
    printf '   would run: '
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}
# Writes standard input to a file as root, or says so.
write_as_root() {
  if $dry_run; then
    printf '   would write %s: %s\n' "$1" "$(cat)"
  else
    sudo tee "$1" >/dev/null
  fi
}

say "Ubuntu $release"
# shellcheck disable=SC1091
found="$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-}")"
if [[ "$found" != "ubuntu $release" ]]; then
  message="this is $found; ROS 2 $distro has packages for Ubuntu $release (docker/README.md has an image)"
  if $dry_run; then echo "   $message"; else fail "$message"; fi
fi

say "apt source of ROS 2"
key=/usr/share/keyrings/ros-archive-keyring.gpg
list=/etc/apt/sources.list.d/ros2.list
if compgen -G "/etc/apt/sources.list.d/ros2*" >/dev/null; then
  there "$(compgen -G "/etc/apt/sources.list.d/ros2*" | head -1)"
else
  run sudo apt-get update
  run sudo apt-get install -y --no-install-recommends ca-certificates curl gnupg lsb-release
  run sudo curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.key -o "$key"
  # shellcheck disable=SC1091
  codename="$(. /etc/os-release && echo "${VERSION_CODENAME:-}")"
  echo "deb [arch=$(dpkg --print-architecture) signed-by=$key] http://packages.ros.org/ros2/ubuntu $codename main" |
    write_as_root "$list"
fi

say "packages: ROS 2 $distro, Gazebo $gz_version, build tools"
packages=(
  "ros-$distro-ros-base" "ros-$distro-ros-gz" "ros-$distro-compressed-image-transport" "ros-$distro-rviz2"
  "ros-$distro-tf2-msgs" "ros-$distro-rosbag2-storage-mcap"
  build-essential ccache cmake git python3-colcon-common-extensions python3-dev python3-rosdep python3-vcstool
  python3-venv rapidjson-dev libopencv-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-plugins-bad gstreamer1.0-libav gstreamer1.0-gl
)
lacking=()
for package in "${packages[@]}"; do
  status="$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)"
  [[ "$status" == installed ]] || lacking+=("$package")
done
if [[ ${#lacking[@]} -eq 0 ]]; then
  there "all ${#packages[@]} packages"
else
  run sudo apt-get update
  run sudo apt-get install -y --no-install-recommends "${lacking[@]}"
fi

say "sources of scripts/workspace.repos, in $stack/src"
run mkdir -p "$stack/src"
run vcs import --skip-existing --input "$root/scripts/workspace.repos" "$stack/src"
run git -C "$stack/src/ardupilot" submodule update --init --recursive --depth 1

say "ardupilot_gazebo, for Gazebo $gz_version"
plugin="$stack/build/ardupilot_gazebo"
if [[ -f "$plugin/libArduPilotPlugin.so" ]]; then
  there "$plugin/libArduPilotPlugin.so"
else
  # In a shell of its own: ROS's setup changes the environment, and Gazebo comes in ROS's packages.
  # shellcheck disable=SC2016
  build='source "$1" && export GZ_VERSION="$2" &&
    cmake -S "$3" -B "$4" -DCMAKE_BUILD_TYPE=RelWithDebInfo && cmake --build "$4" --parallel'
  run bash -c "$build" build "/opt/ros/$distro/setup.bash" "$gz_version" "$stack/src/ardupilot_gazebo" "$plugin"
fi

say "ArduCopter and Rover for SITL"
sitl="$stack/src/ardupilot/build/sitl/bin"
if [[ -x "$sitl/arducopter" && -x "$sitl/ardurover" ]]; then
  there "$sitl"
else
  python="$stack/venv"
  [[ -x "$python/bin/python" ]] || run python3 -m venv "$python"
  run "$python/bin/pip" install --quiet 'empy==3.3.4' pexpect lxml future 'setuptools<80'
  # shellcheck disable=SC2016
  waf='cd "$1" && PATH="$2:$PATH" && ./waf configure --board sitl && ./waf copter rover'
  run bash -c "$waf" waf "$stack/src/ardupilot" "$python/bin"
fi

say "$stack/env.sh"
environment="# What simulation.launch.py finds of this stack: source it after ROS 2.
export PATH=\"$sitl:\$PATH\"
export GZ_SIM_SYSTEM_PLUGIN_PATH=\"$plugin\${GZ_SIM_SYSTEM_PLUGIN_PATH:+:\$GZ_SIM_SYSTEM_PLUGIN_PATH}\"
export GZ_VERSION=$gz_version
# Gazebo's Python bindings, where it comes in ROS's packages.
for folder in /opt/ros/$distro/opt/*_vendor/lib/python; do
  if [ -d \"\$folder\" ]; then export PYTHONPATH=\"\$folder\${PYTHONPATH:+:\$PYTHONPATH}\"; fi
done"
if [[ -f "$stack/env.sh" && "$(cat "$stack/env.sh")" == "$environment" ]]; then
  there "$stack/env.sh"
elif $dry_run; then
  printf '   would write:\n%s\n' "$environment"
else
  printf '%s\n' "$environment" >"$stack/env.sh"
fi

cat <<TEXT

Then, in every shell:

  cd $root && source /opt/ros/$distro/setup.bash && source $stack/env.sh
  make install && source .venv/bin/activate && colcon build && source install/setup.bash    # once
  scripts/launch_occworld_simulation.sh --record --headless --fast
TEXT
