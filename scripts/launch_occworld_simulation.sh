#!/usr/bin/env bash
# Simulate, fly and record: `ros2 launch aerialworld_bringup simulation.launch.py` under the name that the guides use.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

usage() {
  cat <<'TEXT'
Usage: scripts/launch_occworld_simulation.sh [OPTIONS] [NAME:=VALUE ...]

  --world PATH       world folder or SDF file (default: the shipped small city)
  --drones N         how many drones (default 1)
  --rovers N         how many rovers (default 1)
  --engine NAME      gazebo (default) or embedded, which needs no Gazebo
  --mission NAME     what drones fly: survey (default), orbit, corridor, random, waypoints, none
  --data-root PATH   folder that receives the sessions (default: data)
  --record           record sessions
  --headless         without a window
  --fast             as fast as the machine can, nothing dropped
  --dry-run          print the command, run nothing
  -h, --help         this text

NAME:=VALUE is handed on to the launch file; `ros2 launch aerialworld_bringup simulation.launch.py --show-args` lists all.

  scripts/launch_occworld_simulation.sh --drones 1 --rovers 1 --record --headless --fast
TEXT
}

fail() {
  echo "launch_occworld_simulation.sh: $1" >&2
  exit 2
}

# The value of an option, or an error where there is none.
value() {
  [[ $# -ge 2 && "$2" != --* ]] || fail "$1 needs a value; see --help"
  printf '%s' "$2"
}

world="$root/worlds/small_city"
arguments=()
record=false
headless=false
fast=false
dry_run=false
while [[ $# -gt 0 ]]; do
  case "$1" in
    --world) world="$(value "$@")"; shift ;;
    --drones) arguments+=("drones:=$(value "$@")"); shift ;;
    --rovers) arguments+=("rovers:=$(value "$@")"); shift ;;
    --engine) arguments+=("engine:=$(value "$@")"); shift ;;
    --mission) arguments+=("mission:=$(value "$@")"); shift ;;
    --data-root) arguments+=("data_root:=$(value "$@")"); shift ;;
    --record) record=true ;;
    --headless) headless=true ;;
    --fast) fast=true ;;
    --dry-run) dry_run=true ;;
    -h | --help) usage; exit 0 ;;
    *:=*) arguments+=("$1") ;;
    *) fail "unknown option $1; see --help" ;;
  esac
  shift
done

# What is not sourced yet is sourced, where it lies in its usual place.
source_if_there() {
  if [[ -f "$1" ]]; then
    set +u
    # shellcheck disable=SC1090
    source "$1"
    set -u
  fi
}
command -v ros2 >/dev/null || source_if_there "/opt/ros/${ROS_DISTRO:-jazzy}/setup.bash"
[[ ":${AMENT_PREFIX_PATH:-}:" == *aerialworld_bringup* ]] || source_if_there "$root/install/setup.bash"
source_if_there "${AERIALWORLD_STACK:-$HOME/aerialworld_stack}/env.sh"
# ros2 runs on the system's Python; the libraries that `make install` brings are in the environment beside it.
if [[ -x "$root/.venv/bin/python" ]]; then
  site="$("$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$site"
fi

command=(ros2 launch aerialworld_bringup simulation.launch.py "world:=$world"
  "record:=$record" "headless:=$headless" "fast:=$fast" "${arguments[@]}")
if $dry_run; then
  printf '%q ' "${command[@]}"
  echo
  exit 0
fi
command -v ros2 >/dev/null ||
  fail "there is no ros2; install and source ROS 2 (scripts/install_ardupilot_gazebo_stack.sh), or use aerialworld simulate"
exec "${command[@]}"
