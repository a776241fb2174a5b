"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from hanlab.cli import cpl as cpl_commands
from hanlab.cli import ctrl_c, hints, streams
from hanlab.cli import dsp as dsp_commands
from hanlab.cli import image as image_commands
from hanlab.cli import pending as pending_commands
from hanlab.errors import CTRL_C, SIGNALLED, STOPPED, CarriedOn, HanlabError, UsageError

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
app.add_typer(cpl_commands.app, name="cpl")
app.add_typer(dsp_commands.app, name="dsp")
app.add_typer(pending_commands.app, name="requests")

LabOption = Annotated[
    Path | None,
    typer.Option(
        "--lab", metavar="FILE", help="A lab.toml; without it: one emulated CH with one PPMID."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
PcapOption = Annotated[
    Path | None,
    typer.Option(
        "--pcap",
        metavar="FILE",
        help="Capture the HAN (Zigbee) to this file; the key for Wireshark goes beside it.",
    ),
]
ImpairOption = Annotated[
    str,
    typer.Option(
        "--impair",
        metavar="WIRE.WHAT=N,…",
        help="Spoil wires, e.g. wan.loss=0.2,han.loss=0.2,wan.pulled=12+30: wan or han; loss, burst, "
        "flips, truncate, duplicate, reorder, stall, stall_s, pulled.",
    ),
]
DirectOption = Annotated[
    bool, typer.Option("--direct", help="Straight to the S1SP: no DSP, no CPL, no inventory.")
]
AsOption = Annotated[
    str,
    typer.Option("--as", metavar="USER", help="The Service User who sends it, e.g. supplier."),
]
PrintDuisOption = Annotated[
    bool,
    typer.Option("--print-duis", help="Print the Service Request as signed XML, and send nothing."),
]
_DEVICE = "A device of the lab by its name, EUI-64 or type, e.g. PPMID."
LastOption = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many.")]
HomeOption = Annotated[
    str | None, typer.Option("--home", metavar="NAME", help="One home of a lab that has several.")
]
MinutesOption = Annotated[
    int,
    typer.Option("--minutes", min=1, max=60, metavar="N", help="How long it may take to join."),
]
DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE", help=_DEVICE)]


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
) -> None:
    pass


@app.command()
def demo(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One demo; without it: a tour.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name every demo, a line each.")] = False,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", metavar="FILE", help="Your own OTA file, through each --ch to its device."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="N|96K", help="With --image: octets of each CH's image store."),
    ] = None,
    hubs: Annotated[
        list[str] | None,
        typer.Option(
            "--ch",
            metavar="MODEL",
            help="With --image: a CH of `hanlab boards`, as often as you like. (default: both)",
        ),
    ] = None,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an update that works, and the ways in which updates fail."""
    if list_:
        from hanlab.cli.demo_list import list_demos

        list_demos(as_json=as_json)
    elif image or store or hubs:
        from hanlab.cli import demos

        if image is None or name is not None:
            raise UsageError(
                f"--image is a demo of its own, and {name} another one"
                if image
                else "--store and --ch are for a demo of your own --image",
                next_step="hanlab demo --image FILE --store 96K --ch skyline-i510 --ch am110r",
            )
        demos.run_own(image, hubs or [], store, pcap=pcap, impair=impair, as_json=as_json)
    else:
        from hanlab.cli import demos

        demos.run(name, pcap=pcap, impair=impair, as_json=as_json)


@app.command()
def push(
    image: Annotated[
        Path,
        typer.Argument(metavar="IMAGE", help="An OTA file; `hanlab image build` makes one."),
    ],
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="DEVICE",
            help="A device by its name, EUI-64 or type; or several (--to A --to B, --to 'oak/*'): one 11.1 for all.",
        ),
    ],
    lab: LabOption = None,
    direct: DirectOption = False,
    user: AsOption = "",
    print_duis: PrintDuisOption = False,
    cut: Annotated[
        str,
        typer.Option(
            metavar="BOARD@N%",
            help="The power of a board fails for a second, e.g. PPMID@43% or hub@43%.",
        ),
    ] = "",
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.1 Update Firmware: an image through the CH to a device.

    Stopped half-way, the same command goes on where it stopped.
    """
    from hanlab.cli import requests
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        requests.push(
            image,
            to,
            lab=lab,
            pcap=pcap,
            impair=impair,
            direct=direct,
            user=user,
            print_duis=print_duis,
            cut=cut,
            as_json=as_json,
        )


@app.command()
def version(
    device: DeviceArgument,
    lab: LabOption = None,
    direct: DirectOption = False,
    user: AsOption = "",
    print_duis: PrintDuisOption = False,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.2 Read Firmware Version: what the device itself answers."""
    from hanlab.cli import requests
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        requests.version(
            device,
            lab=lab,
            pcap=pcap,
            impair=impair,
            direct=direct,
            user=user,
            print_duis=print_duis,
            as_json=as_json,
        )


@app.command()
def activate(
    device: DeviceArgument,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", metavar="FILE", help="The OTA file whose hash the command carries."
        ),
    ] = None,
    hash_: Annotated[
        str | None,
        typer.Option("--hash", metavar="HEX", help="The Manufacturer Image hash: 64 hex digits."),
    ] = None,
    lab: LabOption = None,
    direct: DirectOption = False,
    user: AsOption = "",
    print_duis: PrintDuisOption = False,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """11.3 Activate Firmware: start the image with a given hash.

    Give --image or --hash. The device compares it, answers, and restarts with its image.
    """
    from hanlab.cli import requests
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        requests.activate(
            device,
            image,
            hash_,
            lab=lab,
            pcap=pcap,
            impair=impair,
            direct=direct,
            user=user,
            print_duis=print_duis,
            as_json=as_json,
        )


@app.command()
def store(
    evict: Annotated[
        int | None,
        typer.Option("--evict", metavar="ID", help="Remove the image with this number."),
    ] = None,
    home: HomeOption = None,
    lab: LabOption = None,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """The CH's image store: its budget and what it holds."""
    from hanlab.cli import homes
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        homes.store(evict, home, lab=lab, pcap=pcap, impair=impair, as_json=as_json)


@app.command()
def devices(
    lab: LabOption = None,
    counters: Annotated[
        bool, typer.Option("--counters", help="Also what happened on the wires and was dropped.")
    ] = False,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """The lab's boards, and the devices that the CH knows on its HAN."""
    from hanlab.cli import homes
    from hanlab.cli.capture import capturing

    with capturing(pcap, quiet=as_json):
        homes.devices(lab=lab, pcap=pcap, impair=impair, counters=counters, as_json=as_json)


@app.command()
def events(
    device: Annotated[str | None, typer.Argument(metavar="DEVICE", help=_DEVICE)] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the boards say of themselves since they started."""
    from hanlab.cli import event_logs

    event_logs.events(device, lab=lab, as_json=as_json)


@app.command()
def join(
    device: DeviceArgument,
    to: Annotated[
        str | None, typer.Option("--to", metavar="HOME", help="The home; by default its own.")
    ] = None,
    minutes: MinutesOption = 5,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a device onto a CH's HAN, and wait for it.

    Sends 12.2 if the inventory does not have it, 8.11, and 8.7.2 (a meter: 8.1.1) when it has joined.
    """
    from hanlab.cli import joining

    joining.join(device, to, minutes, lab=lab, as_json=as_json)


@app.command()
def leave(
    device: DeviceArgument,
    decommission: Annotated[
        bool, typer.Option("--decommission", help="For good: 8.3 after the 8.11.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a device off its CH's HAN (8.11 Remove)."""
    from hanlab.cli import joining

    joining.leave(device, decommission=decommission, lab=lab, as_json=as_json)


@app.command()
def move(
    device: DeviceArgument,
    to: Annotated[str, typer.Option("--to", metavar="HOME", help="The home it moves to.")],
    minutes: MinutesOption = 5,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a device to another home: leave, then join."""
    from hanlab.cli import joining

    joining.move(device, to, minutes, lab=lab, as_json=as_json)


@app.command()
def request(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.xml", help="A Service Request as DUIS 5.4 writes it.")
    ],
    lab: LabOption = None,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a Service Request in XML to the DSP.

    Prints the acknowledgement and what comes of it as XML.
    """
    from hanlab.cli import office

    office.request(file, lab=lab, pcap=pcap, impair=impair, as_json=as_json)


@app.command()
def provision(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Where to. (default: the lab's own)")
    ] = None,
    lab: LabOption = None,
    force: Annotated[bool, typer.Option("--force", help="New keys in place of old ones.")] = False,
    import_pki: Annotated[
        Path | None,
        typer.Option(
            "--import-pki",
            metavar="FROM",
            help="Take keys and certificates from a folder, e.g. DCC Boxed's test ones.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make test keys: a CA, the Service Users, DSP and S1SP."""
    from hanlab.cli.provision import run

    run(folder, lab=lab, force=force, take=import_pki, as_json=as_json)


@app.command()
def sign(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.xml", help="A Service Request as DUIS 5.4 writes it.")
    ],
    lab: LabOption = None,
    pki: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Test keys. (default: the lab's own)")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With the milliseconds since 1970 as its counter.")
    ] = False,
) -> None:
    """Sign a Service Request with its originator's key.

    Prints it, as `hanlab serve` takes it.
    """
    from hanlab.cli.sign import run

    run(file, lab=lab, pki=pki, fresh=fresh)


@app.command()
def serve(
    lab: LabOption = None,
    host: Annotated[str, typer.Option(help="The address to serve.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to serve; 0: any that is free.")
    ] = 8079,
    pki: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Test keys. (default: the lab's own, made if missing)"),
    ] = None,
    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned", help="Take requests without a signature too, from this computer alone."
        ),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="Another name that clients call it by (Host)."
        ),
    ] = None,
    impair: ImpairOption = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON as soon as it serves.")
    ] = False,
) -> None:
    """The DSP's web services (DUIS over HTTP), until Ctrl-C.

    With the lab behind them, in real time; requests are signed with its test keys. Answers come to the
    users' listeners that lab.toml names.
    """
    from hanlab.cli.serve import run

    run(
        lab=lab,
        host=host,
        port=port,
        pki=pki,
        unsigned=unsigned,
        names=allow_host or [],
        impair=impair,
        as_json=as_json,
    )


@app.command()
def inventory(
    add: Annotated[
        Path | None,
        typer.Option("--add", metavar="FILE", help="Add the devices of a .toml or .csv file."),
    ] = None,
    hand_over: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="DEVICE USER", help="Make that supplier the responsible one."),
    ] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """The SMI: every device with its status and version."""
    from hanlab.cli import office

    office.inventory(add, hand_over, lab=lab, as_json=as_json)


@app.command()
def alerts(
    last: LastOption = 20,
    again: Annotated[
        bool, typer.Option("--again", help="Send again what listeners refused and was set aside.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """The responses and DCC Alerts that the DSP has sent."""
    from hanlab.cli import office

    office.alerts(last, again=again, lab=lab, as_json=as_json)


@app.command()
def audit(
    last: LastOption = 20,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """The DSP's decisions, each with the rule that made it."""
    from hanlab.cli import office

    office.audit(last, lab=lab, as_json=as_json)


@app.command()
def up(
    lab: LabOption = None,
    impair: ImpairOption = "",
    pcap: PcapOption = None,
    open_wan: Annotated[
        bool,
        typer.Option(
            "--open-wan", help="Let any SMP client upload and reset, not only read and echo."
        ),
    ] = False,
    tcp: Annotated[
        str | None,
        typer.Option(
            "--tcp",
            metavar="[HOST:]PORT",
            help="TCP ports instead of PTYs, from this one on; without a host for this computer alone.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON as soon as the boards answer.")
    ] = False,
) -> None:
    """Keep the boards up until Ctrl-C, each one's UART on a PTY.

    In real time, so that any SMP tool can attach.
    """
    from hanlab.cli.up import run

    run(lab=lab, pcap=pcap, impair=impair, open_wan=open_wan, tcp=tcp, as_json=as_json)


@app.command()
def sweep(
    lab: LabOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="DEVICE", help="The device that is updated; hub: the CH itself."
        ),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option("--join", metavar="DEVICE", help="Not an update: that device joins its HAN."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|16K|1M", help="Octets of the firmware in the update. (default: 16K)"
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            metavar="hub|device|both",
            help="Only cuts that meet the CH alone, the device alone, or all boards and the host.",
        ),
    ] = None,
    every: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="One cut in N, by chance, of each kind of cut on each board."
        ),
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of --every's choice. (default: the lab's)")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="CUT", help="One cut again, e.g. hub:torn:12 or PPMID:after:3:both."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes at once. (default: one each core)"),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the result to this file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the power at every flash operation of an update, or of a join.

    And look what is lost; in a lab of its own, on emulated boards.
    """
    from hanlab.cli.sweep import run

    run(
        lab=lab,
        to=to,
        join=join,
        size=size,
        which=board,
        every=every,
        seed=seed,
        only=only,
        processes=jobs,
        picture=svg,
        as_json=as_json,
    )


@app.command()
def rules(
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Every rule with the tests that show it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Which S1SR clauses hold for which Device Models (DMVES)."""
    from hanlab.cli import rule_table

    if coverage:
        rule_table.show_coverage(as_json=as_json)
    else:
        rule_table.show_matrix(as_json=as_json)


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to. (default: here)", show_default=False)
    ] = Path(),
    homes: Annotated[
        int | None,
        typer.Option("--homes", metavar="N", min=1, max=500, help="A lab of so many homes."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a lab.toml with comments, and sample Service Requests."""
    from hanlab.cli import begin

    begin.init(folder, homes, as_json=as_json)


@app.command("new-test")
def new_test_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file, e.g. tests/test_ppmid.py.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a first pytest file for boards, emulated or real."""
    from hanlab.cli import new_test

    new_test.new_test(file, as_json=as_json)


@app.command()
def reset(lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Forget what the lab's boards and its DSP hold; keys stay.

    Real boards keep what is on them.
    """
    from hanlab.cli import begin

    begin.reset(lab=lab, as_json=as_json)


@app.command()
def boards(as_json: JsonOption = False) -> None:
    """The board types and Device Models that a lab.toml can name."""
    from hanlab.cli import catalogue

    catalogue.show(as_json=as_json)


_AFTER_CTRL_C = {
    "push": "run it again: it goes on where it stopped",
    "activate": "hanlab version DEVICE shows what it runs; if that is the old version, run it again",
    "sweep": "run it again: its boards are its own and are gone; --every N or --only CUT tries fewer cuts",
    "demo": "run it again: its boards are its own and are gone",
    "serve": "run it again: what was acknowledged and is not done is done then",
    "up": "run it again: the boards' flash stays",
}
"""What a user does after Ctrl-C in a command; in any other there is nothing that goes on."""


def fail(error: HanlabError, *, as_json: bool, lab: str = "") -> int:
    """Print an error as its reader wants it; the exit code. `lab` is what `--lab` said."""
    next_step = hints.with_lab(error.next_step, lab)
    cause = getattr(error, "cause", None)
    if as_json:
        report: dict[str, Any] = {"error": error.what, "next_step": next_step}
        if outcome := getattr(error, "outcome", None):
            report["outcome"] = str(outcome)
        if code := getattr(error, "code", None):
            report["code"] = code
        if cause:
            report["cause"] = {"what": cause.what, "outcome": getattr(cause, "outcome", None)}
        report.update(error.besides)
        streams.complain(json.dumps(report), on_stdout=True)
    else:
        lines = [streams.between_words(f"hanlab: {error.what}")]
        lines += [streams.between_words(f"  cause: {cause.what}")] if cause else []
        lines += [f"  next: {next_step}"] if next_step else []
        streams.complain("\n".join(lines))
    return error.exit_code


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
    except KeyboardInterrupt as stopped:
        next_step = _AFTER_CTRL_C.get(_command_of(arguments), "run it again")
        if isinstance(stopped, CarriedOn):
            next_step = stopped.next_step
        fail(UsageError(STOPPED, next_step=next_step), as_json=as_json, lab=lab)
        code = CTRL_C
    except BrokenPipeError:  # `hanlab demo --list | head -1`: the reader has what it wanted
        code = SIGNALLED + signal.SIGPIPE
    except OSError as error:
        code = fail(_of_the_system(error), as_json=as_json, lab=lab)
    streams.settle()
    sys.exit(code)


def _shown(usage: Any) -> str:
    """A usage error as Typer shows it."""
    shown = io.StringIO()
    usage.show(file=shown)
    return shown.getvalue().rstrip()


def _command_of(arguments: Sequence[str]) -> str:
    """The command on a command line; empty: there is none."""
    return next((a for a in arguments if not a.startswith("-")), "")


def _of_the_system(error: OSError) -> UsageError:
    where = f"{error.filename}: " if error.filename else ""
    return UsageError(
        f"{where}{error.strerror or error}",
        next_step="check that it is there, may be written to and has room",
    )


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
        streams.complain(_shown(usage))
        return UsageError.exit_code
    return 0
