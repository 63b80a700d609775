#!/usr/bin/env bash
# What the image aerialworld-sim runs: gazebo, embedded, health, or any command of aerialworld's environment.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

source_if_there() {
  if [[ -f "$1" ]]; then
    set +u
    # shellcheck disable=SC1090
    source "$1"
    set -u
  fi
}
source_if_there "/opt/ros/${ROS_DISTRO:-jazzy}/setup.bash"
source_if_there "$root/.venv/bin/activate"
source_if_there "$root/install/setup.bash"
# Gazebo's Python bindings, which move its traffic.
for folder in "/opt/ros/${ROS_DISTRO:-jazzy}"/opt/*_vendor/lib/python; do
  if [[ -d "$folder" ]]; then export PYTHONPATH="$folder${PYTHONPATH:+:$PYTHONPATH}"; fi
done

launch="$root/scripts/launch_occworld_simulation.sh"
record=(--record --headless --fast --data-root "${AERIALWORLD_DATA:-/data}")
case "${1:-gazebo}" in
  gazebo | embedded)
    engine="${1:-gazebo}"
    shift "$(($# > 0))"
    exec "$launch" "${record[@]}" --engine "$engine" "$@"
    ;;
  health)
    # Healthy while it records: the whole run ends when anything that it needs has ended.
    pgrep -f 'lib/aerialworld_recorder/recorder' >/dev/null
    ;;
  *)
    exec "$@"
    ;;
esac
