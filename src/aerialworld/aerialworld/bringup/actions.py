"""Processes as actions of ROS 2's `launch`: the only module here that needs it, imported by launch files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, List  # noqa: UP035 - launch compares with typing's lists

from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, Shutdown
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from aerialworld.bringup.ending import Watch
from aerialworld.bringup.process import Process, Run


class RunFailed(Exception):
    """A run ended otherwise than it should: `launch` shows the reason, ends everything and exits with 1."""


def declared(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Every argument with its default and description, as --show-args tells them."""
    return [DeclareLaunchArgument(name, default_value=d, description=text) for name, (d, text) in arguments.items()]


def given(context: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The arguments' values as text."""
    return {name: context.launch_configurations[name] for name in arguments}


def started(run: Run) -> list[Any]:
    """Write the run's files, and start its processes; the run ends as `Watch` says."""
    run.write()
    watch = Watch(run.processes)
    return [*(LogInfo(msg=note) for note in run.notes), *(action(process, watch) for process in run.processes)]


def action(process: Process, watch: Watch) -> Any:
    """One process. Strings stay strings: `launch_ros` would read "1,5" or "no" as YAML."""

    def ended(event: Any, context: Any) -> Any:
        ending = None if context.is_shutdown else watch.ended(process.name, event.returncode)
        if ending is None:
            return None
        if ending.failed:
            raise RunFailed(ending.reason)
        return [LogInfo(msg=ending.reason), Shutdown(reason=ending.reason)]

    shared: dict[str, Any] = {
        "output": "screen",
        "emulate_tty": True,
        "additional_env": dict(process.environment),
        "sigterm_timeout": f"{process.patience:g}",
        "sigkill_timeout": "10",
        "on_exit": ended,
    }
    if process.folder:
        shared["cwd"] = str(process.folder)
    if process.command:
        return ExecuteProcess(cmd=list(process.command), name=process.name, **shared)
    parameters: list[Any] = [ParameterFile(str(path)) for path in process.parameter_files]
    if process.parameters:
        parameters.append({name: _parameter(value) for name, value in process.parameters.items()})
    return Node(
        package=process.package,
        executable=process.executable,
        parameters=parameters,
        arguments=list(process.arguments),
        name=process.name,
        exec_name=process.name,
        **shared,
    )


def _parameter(value: Any) -> Any:
    if isinstance(value, str):
        return ParameterValue(value, value_type=str)
    if isinstance(value, Sequence) and value and isinstance(value[0], str):
        return ParameterValue(list(value), value_type=List[str])  # noqa: UP006
    return list(value) if isinstance(value, Sequence) else value
