"""The `aerialworld` command: from a city model to a trained world model."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from aerialworld import __version__
from aerialworld.commands import city, mission, session, traffic
from aerialworld.commands.autopilot import autopilot
from aerialworld.commands.compare_engines import compare_engines
from aerialworld.commands.demo import demo
from aerialworld.commands.doctor import doctor
from aerialworld.commands.generate import generate
from aerialworld.commands.look import look
from aerialworld.commands.mission_fly import mission_fly
from aerialworld.commands.replay import replay
from aerialworld.commands.report import report
from aerialworld.commands.reproduce import reproduce
from aerialworld.commands.rerender import rerender
from aerialworld.commands.simulate import simulate
from aerialworld.commands.training import evaluate, train
from aerialworld.commands.visualize import visualize
from aerialworld.console import DEBUG_VARIABLE

app = typer.Typer(
    name="aerialworld",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn a real city model into SDF worlds, drone and rover recordings, and a trained 4D-occupancy world model.",
    epilog="Start with: aerialworld demo   |   then: aerialworld doctor, aerialworld COMMAND --help",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"aerialworld {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


app.add_typer(city.app, name="city")
mission.app.command(
    "fly",
    epilog="Examples: aerialworld mission fly plan.json --world world   |   aerialworld mission fly a.json b.json "
    "rover.json --connect tcp:127.0.0.1:5760 --connect tcp:127.0.0.1:5770 --connect udpin:127.0.0.1:14550@3",
)(mission_fly)
app.add_typer(mission.app, name="mission")
app.command(
    epilog="Examples: aerialworld simulate world plan.json --out sessions   |   "
    "aerialworld simulate world a.json b.json --out sessions --rig rig_small --voxel-size 0.8,0.8,2.5 --resume"
)(simulate)
app.command(
    epilog="Examples: aerialworld rerender sessions --world world --out again --rig my_rig.sdf   |   "
    "aerialworld rerender sessions/drone_20240115_120000 --world world --out morning "
    "--conditions local_time=07:30,date=2024-04-01 --keep depth,semantic,instance"
)(rerender)
app.command(
    epilog="Examples: aerialworld look world --out sheet.png   |   "
    "aerialworld look world --street --conditions local_time=08:00 --out street.png"
)(look)
app.command(
    epilog="Examples: aerialworld autopilot --vehicle drone --speedup 10   |   "
    "aerialworld autopilot --vehicle rover -I 1 --sysid 2 --udp 127.0.0.1:14550 --world world   |   "
    "mavproxy.py --master tcp:127.0.0.1:5760"
)(autopilot)
app.command(
    epilog="Examples: aerialworld generate --example > campaign.yaml   |   aerialworld generate campaign.yaml --dry-run"
    "   |   aerialworld generate campaign.yaml --out data/mine --workers 8"
)(generate)
app.command(
    "compare-engines",
    epilog="Example: aerialworld compare-engines world plan.json --frames 20 --out engines.json",
)(compare_engines)
app.command(epilog="Example: aerialworld replay flight.jsonl --world world")(replay)
app.add_typer(session.app, name="session")
app.add_typer(traffic.app, name="traffic")
app.command(
    epilog="Examples: aerialworld train --sessions sessions --split split.json --work-dir work --set stages.0.epochs=4"
    "   |   aerialworld train --config train_adapt --sessions sessions --work-dir out/vqvae"
)(train)
app.command(
    epilog="Example: aerialworld evaluate --sessions sessions --split split.json --work-dir work --out evaluation"
)(evaluate)
app.command(epilog="Example: aerialworld visualize evaluation")(visualize)
app.command(epilog="Example: aerialworld reproduce evaluation/evaluation.json")(reproduce)
app.command(epilog="Example: aerialworld report out/demo")(report)
app.command(
    epilog="Examples: aerialworld demo   |   aerialworld demo --city 13100_tokyo23-ku/ --seed 3   |   "
    "aerialworld demo --rig my_rig.sdf --out out/mine"
)(demo)
app.command(epilog="Example: aerialworld doctor --json")(doctor)


def main() -> None:
    """Entry point of the console script."""
    # A file's name may hold what the terminal's encoding has not (bytes of Shift_JIS, a locale that is not UTF-8): it
    # is shown escaped, as on stderr, and does not end a command whose work is done.
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    app(arguments, prog_name="aerialworld")


if __name__ == "__main__":
    main()
