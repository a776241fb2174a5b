"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from hanlab.boards.uf2 import RP2040, UF2
from hanlab.cli import ctrl_c, hints, streams
from hanlab.cli import image as image_commands
from hanlab.cli.commands import cpl, dsp, hans, labs, pending, real_boards, services, updating
from hanlab.cli.failures import fail, of_the_system, shown, stopped
from hanlab.errors import CTRL_C, SIGNALLED, HanlabError, UsageError

_COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    labs.demo,
    updating.push,
    updating.version,
    updating.activate,
    updating.store,
    updating.devices,
    updating.events,
    hans.join,
    hans.leave,
    hans.move,
    services.request,
    services.provision,
    real_boards.ports,
    real_boards.flash,
    services.sign,
    services.serve,
    services.inventory,
    services.alerts,
    services.audit,
    labs.up,
    labs.sweep,
    services.rules,
    labs.init,
    labs.new_test,
    labs.reset,
    labs.boards,
)  # fmt: skip
"""In the order of `hanlab --help`."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A SMETS1 home area network on a desk: push firmware images through a Communications Hub "
    "into a PPMID, on emulated boards or real ones, and see which fit and which fail.",
    epilog="Begin with `hanlab demo`. Exit code: 0 done, 1 a device or service refused, 2 wrong usage "
    "or environment.",
)
app.add_typer(image_commands.app, name="image")
app.add_typer(cpl.app, name="cpl")
app.add_typer(dsp.app, name="dsp")
app.add_typer(pending.app, name="requests")
for command in _COMMANDS:
    app.command()(command)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of

        print(f"hanlab {version_of('hanlab')}")
        raise typer.Exit


@app.callback()
def _hanlab(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which hanlab this is."
        ),
    ] = False,
    uf2: Annotated[
        Path | None,
        typer.Option(
            "--uf2",
            metavar="FILE",
            help=f"MicroPython for emulated RP2040s (--lab {RP2040}); without it {UF2}'s.",
        ),
    ] = None,
) -> None:
    if uf2:
        os.environ[UF2] = str(uf2)


def main() -> None:
    """The `hanlab` command: run it, and turn whatever ends it into an exit code and a sentence."""
    streams.prepare()
    arguments = sys.argv[1:]
    as_json, lab = "--json" in arguments, hints.given_lab(arguments)
    try:
        with ctrl_c.raises():
            code = _run(arguments, as_json=as_json)
            streams.flush()
    except HanlabError as error:
        code = fail(error, as_json=as_json, lab=lab)
    except KeyboardInterrupt as ctrl_c_:
        fail(stopped(ctrl_c_, arguments), as_json=as_json, lab=lab)
        code = CTRL_C
    except BrokenPipeError:  # `hanlab demo --list | head -1`: the reader has what it wanted
        code = SIGNALLED + signal.SIGPIPE
    except OSError as error:
        code = fail(of_the_system(error), as_json=as_json, lab=lab)
    streams.settle()
    sys.exit(code)


@cache
def _command() -> typer.core.TyperGroup:
    """Made once: that takes longer than most commands, and a process may run many."""
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    return command


def _run(arguments: list[str], *, as_json: bool) -> int:
    """Run the command that `arguments` name; the exit code. Errors of any kind are the caller's."""
    command = _command()
    try:
        with command.make_context("hanlab", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except Exception as error:
        # Typer's own usage errors; where their class is differs between its versions
        if not hasattr(error, "format_message"):
            raise
        usage: Any = error
        if as_json:
            next_step = f"{usage.ctx.command_path if usage.ctx else 'hanlab'} --help"
            raise UsageError(usage.format_message(), next_step=next_step) from None
        streams.complain(shown(usage))
        return UsageError.exit_code
    return 0
