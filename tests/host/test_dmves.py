"""The matrix of S1SR clauses and Device Models, and the rule table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hanlab.boards.clauses import (
    CLAUSES,
    OCTOBER_2021,
    Behaviour,
    check_clauses,
    without,
)
from hanlab.boards.data import DeviceModel, load_model, model_names
from hanlab.errors import UsageError
from hanlab.images import build
from hanlab.rules.coverage import cited, coverage, data_coverage, marked
from hanlab.rules.table import BASIS, SOURCES, rules
from hanlab.s1sp.dmves import Mismatch, check, matrix
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.rules import (
    is_served,
    is_tested,
    refuse_foreign_metadata,
    refuse_third_party,
)
from hanlab.s1sp.target import Target

SKYLINE = load_model("skyline-i510")
AM110R = load_model("am110r")
PIPIT = load_model("pipit-500")
SED = load_model("sed-v3")


def with_clauses(model: DeviceModel, *clauses: str) -> DeviceModel:
    return replace(model, s1sr_clauses=clauses)


@pytest.mark.rule(7, 64)
def test_the_models_clauses_and_data_agree() -> None:
    models = [load_model(name) for name in model_names()]
    assert check(models) == []
    holds_for = {name for name, holds in matrix(models)["Annex D"].items() if holds}
    assert holds_for == {"Skyline i-510"}


@pytest.mark.rule(7, 40)
def test_a_clause_of_the_old_number_is_a_mismatch() -> None:
    old = with_clauses(AM110R, *AM110R.s1sr_clauses, "18.64")
    assert check([old]) == [Mismatch("AM110R", "18.64", "hanlab knows no such clause")]


@pytest.mark.rule(6, 7)
def test_a_size_clause_without_a_capacity_is_a_mismatch() -> None:
    unlimited = replace(AM110R, store=replace(AM110R.store, capacity=None))
    assert {m.clause for m in check([unlimited])} == {"18.63(d)", "18.65(e)"}


@pytest.mark.rule(7, 28)
def test_a_metadata_clause_without_a_manufacturer_is_a_mismatch() -> None:
    assert AM110R.update
    nameless = replace(AM110R, update=replace(AM110R.update, metadata_manufacturer=""))
    assert [m.clause for m in check([nameless])] == ["metadata annex"]


@pytest.mark.rule(8, 64)
@pytest.mark.parametrize(
    ("clause", "on"),
    [
        ("18.62", []),
        ("18.63", [Behaviour.ONE_UPDATE]),
        ("18.63(d)", [Behaviour.SIZE]),
        ("18.65(e)", [Behaviour.SIZE]),
        ("Annex D", [Behaviour.THIRD_PARTY]),
        ("metadata annex", [Behaviour.METADATA]),
    ],
)
def test_each_clause_switches_its_own_behaviour_and_no_other(
    clause: str, on: list[Behaviour]
) -> None:
    for model in (SKYLINE, PIPIT):
        assert [b for b in Behaviour if with_clauses(model, clause).has(b)] == on
    assert [c.number for c in CLAUSES].count(clause) == 1


@pytest.mark.rule(40)
@pytest.mark.parametrize(
    ("number", "meant"),
    [("18.99", ""), ("18.64", "18.65(e)"), ("18.63 (d)", "18.63(d)"), ("annex d", "Annex D")],
)
def test_an_unknown_clause_is_refused_with_what_is_known(number: str, meant: str) -> None:
    with pytest.raises(UsageError, match="hanlab knows no clause") as e:
        check_clauses([number], "lab.toml")
    assert all(c.number in e.value.next_step for c in CLAUSES)
    assert e.value.next_step.startswith(f"did you mean {meant!r}" if meant else "It knows")


@pytest.mark.rule(20)
def test_before_october_2021_is_without_size_metadata_and_third_party() -> None:
    assert without(SKYLINE.s1sr_clauses, OCTOBER_2021) == ("18.62", "18.63")


@pytest.mark.data(57, 119, 120)
def test_cohorts_and_smsos() -> None:
    for name in model_names():
        model = load_model(name)
        smso = {"Secure": "Secure Meters", "Elster Honeywell": "Morrison Data Services"}
        assert (model.cohort, model.smso) == ("MOC", smso[model.population])


@pytest.mark.rule(26)
def test_annex_d_is_on_by_default_for_secure() -> None:
    assert SKYLINE.has(Behaviour.THIRD_PARTY)
    assert not AM110R.has(Behaviour.THIRD_PARTY)


NO_CLAUSE = with_clauses(SKYLINE)
ANNEX_D = with_clauses(SKYLINE, "Annex D")


@pytest.mark.rule(25, 26, 27, 139)
@pytest.mark.parametrize(
    ("hub", "device", "refused"),
    [
        (SKYLINE, SED, True),
        (ANNEX_D, SED, True),
        (NO_CLAUSE, SED, False),
        (NO_CLAUSE, with_clauses(SED, "Annex D"), True),
        (SKYLINE, PIPIT, False),
        (AM110R, SED, False),
        (AM110R, PIPIT, False),
        (AM110R, with_clauses(PIPIT, "Annex D"), True),
        (SKYLINE, load_model("as-300p"), False),
    ],
)
def test_third_party_ppmids_are_refused_where_annex_d_holds(
    hub: DeviceModel, device: DeviceModel, refused: bool
) -> None:
    target = Target("PPMID", bytes(8), device)
    assert is_served(device, hub) is not refused
    if not refused:
        refuse_third_party(target, hub)
        return
    with pytest.raises(ServiceRequestFailed) as e:
        refuse_third_party(target, hub)
    assert e.value.outcome is Outcome.THIRD_PARTY


@pytest.mark.rule(28, 64)
@pytest.mark.parametrize("for_ch", ["Secure", "Elster", None])
@pytest.mark.parametrize("clauses", [(), ("metadata annex",)])
def test_a_device_whose_own_model_wants_metadata(
    for_ch: str | None, clauses: tuple[str, ...]
) -> None:
    target = Target("PPMID", bytes(8), with_clauses(PIPIT, *clauses))
    image = build(b"firmware", device_type="PPMID", version="NEW1", for_ch=for_ch)
    if not clauses or for_ch == "Secure":
        refuse_foreign_metadata(image, target, SKYLINE)
        return
    with pytest.raises(ServiceRequestFailed, match="metadata block of Secure") as e:
        refuse_foreign_metadata(image, target, SKYLINE)
    assert e.value.outcome is Outcome.METADATA


@pytest.mark.rule(149)
def test_a_combination_is_tested_within_one_population_only() -> None:
    assert is_tested(PIPIT, SKYLINE)
    assert not is_tested(PIPIT, AM110R)
    assert not is_tested(load_model("as-300p"), SKYLINE), "a meter as well"


# -- the rule table


def test_the_table_is_whole() -> None:
    table = rules()
    assert [r.number for r in table] == list(range(1, 152))
    for rule in table:
        assert rule.source in SOURCES
        assert rule.basis in BASIS
        assert rule.rule


def test_every_row_is_shown_by_a_test_or_open_with_a_reason() -> None:
    shown, data = set(coverage()), set(data_coverage())
    is_open = {r.number for r in rules() if r.open}
    assert {r.number for r in rules()} == shown | data | is_open
    assert not shown & is_open, "open, and yet shown"
    assert not data & (shown | is_open), "data is what no behaviour shows"


def test_the_rows_of_dsp_and_s1sp_are_not_left_open() -> None:
    scope = {*range(1, 41), *range(78, 119), 142, 145, 147, 149, 150, 151}
    left = {r.number: r.open for r in rules() if r.open and r.number in scope}
    assert left == {
        21: "information only",
        32: "the rule's text is not public",
        33: "information only",
        114: "information only",
    }


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("nothing", []),
        ("so it is (rule 7)", [7]),
        ("(rules 2 to 4)", [2, 3, 4]),
        ("(rules 1 and 97)", [1, 97]),
        ("(rules 19, 29 to 31, 39)", [19, 29, 30, 31, 39]),
    ],
)
def test_rules_in_a_text(text: str, numbers: list[int]) -> None:
    assert cited(text) == numbers


def test_marks_are_read_from_the_source(tmp_path: Path) -> None:
    path = tmp_path / "test_a.py"
    path.write_text(
        "@pytest.mark.rule(3, 5)\nasync def test_b(): ...\n@pytest.mark.data(7)\ndef test_c(): ...\n"
    )
    assert list(marked(path)) == [("test_b", [3, 5])]
    assert list(marked(path, "data")) == [("test_c", [7])]
