"""A node's process: arguments, signals, exit codes. Expected errors are one line on stderr."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from aerialworld_core import network
from aerialworld_core.errors import AerialWorldError, InputError


class Stop:
    """SIGINT and SIGTERM: before `running` they end the start at once, then the loop when it looks at `asked`; a second
    one does not wait for that."""

    def __init__(self) -> None:
        self.asked = False
        self.running = False

    @contextmanager
    def listen(self) -> Iterator[Stop]:
        """Take the signals over; afterwards they are as before. rclpy's own handlers would shut the context down in the
        midst of a callback."""
        before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, stack: Any) -> None:
        if self.asked or not self.running:
            raise KeyboardInterrupt
        self.asked = True


class RunningNode(Protocol):
    """What `run_node` needs of a node."""

    @property
    def context(self) -> Any: ...
    def say(self, text: str) -> None: ...
    def run(self, stop: Stop) -> None: ...
    def destroy_node(self) -> None: ...


def run_node(
    name: str, make: Callable[[], RunningNode], declared: Mapping[str, tuple[Any, str]], args: list[str] | None
) -> int:
    """Run the node until it ends, SIGINT or SIGTERM: 0, or an expected error's exit code.

    declared  default and description of its parameters, for --help; args  after the program's name, None: sys.argv's
    """
    arguments = sys.argv if args is None else [sys.argv[0], *args]
    node: RunningNode | None = None
    try:
        with Stop().listen() as stop:
            _check_arguments(name, arguments, declared)
            where = network.stay_on_this_machine(rclpy.get_rmw_implementation_identifier())
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            node = make()
            node.say(f"ROS domain {node.context.get_domain_id()}: {where}")
            stop.running = True
            node.run(stop)
        return 0
    except KeyboardInterrupt:
        return 0
    except AerialWorldError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _check_arguments(name: str, arguments: list[str], declared: Mapping[str, tuple[Any, str]]) -> None:
    """--help prints the parameters; what ROS cannot parse, and anything that is no ROS argument, is a mistake."""
    try:
        words = remove_ros_args(arguments)[1:]
    except RuntimeError as error:  # RCLError has no public name
        raise InputError(f"--ros-args: {str(error).splitlines()[0]}") from error
    if {"-h", "--help"} & set(words):
        print(f"usage: {name} --ros-args -p world:=FOLDER [-p NAME:=VALUE …]\n")
        for parameter, (default, text) in declared.items():
            print(f"  {parameter} (default {default!r})\n      {text}")
        raise SystemExit(0)
    if words:
        raise InputError(f"{' '.join(words)}: the {name} takes parameters only: --ros-args -p world:=FOLDER …")
