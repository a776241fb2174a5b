"""Commands of the DSP: its web services, its keys, and what it remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hanlab.cli.commands.options import (
    ImpairOption,
    JsonOption,
    LabOption,
    LastOption,
    PcapOption,
)


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
    from hanlab.cli import request_file

    request_file.send(file, lab=lab, pcap=pcap, impair=impair, as_json=as_json)


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


def audit(
    last: LastOption = 20,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """The DSP's decisions, each with the rule that made it."""
    from hanlab.cli import office

    office.audit(last, lab=lab, as_json=as_json)


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
