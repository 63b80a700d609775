"""`aerialworld doctor`: what is installed, what is missing, and what for."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from aerialworld.console import OUT, command

MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "missing": "[cyan]missing[/]",
    "error": "[bold red]error[/]",
}


@command
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Check the installation: versions, libraries, ROS, GPU, Gazebo; what each missing thing is needed for.

    Exit code 0 when the in-process mode works, 1 otherwise.
    """
    from aerialworld.doctor import examine

    checks = examine()
    works = not any(c.state == "error" for c in checks)
    if as_json:
        print(json.dumps({"in_process": works, "checks": [c.to_dict() for c in checks]}, indent=1, ensure_ascii=False))
    else:
        table = Table(show_lines=False, pad_edge=False)
        for heading in ("check", "state", "found", "what to do"):
            table.add_column(heading, overflow="fold")
        for check in checks:
            table.add_row(escape(check.name), MARKS[check.state], escape(check.found), escape(check.advice))
        OUT.print(table)
        OUT.print("The in-process mode works." if works else "The in-process mode does not work; see the errors above.")
    if not works:
        raise typer.Exit(1)
