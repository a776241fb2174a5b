"""The matrix of S1SR clauses and Device Models, and the rule table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hanlab.boards.data import DeviceModel, load_model, model_names
from hanlab.rules.coverage import cited, coverage, marked
from hanlab.rules.table import BASIS, SOURCES, rules
from hanlab.s1sp.dmves import CLAUSES, Mismatch, check, matrix
from hanlab.s1sp.installations import is_third_party, refuse_third_party
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.service import Target

SKYLINE = load_model("skyline-i510")
AM110R = load_model("am110r")


def without(model: DeviceModel, *clauses: str) -> DeviceModel:
    left = tuple(c for c in model.s1sr_clauses if c not in clauses)
    return replace(model, s1sr_clauses=left)


def switched(
    model: DeviceModel, *, needs_metadata: bool | None = None, third_party: bool | None = None
) -> DeviceModel:
    update = model.update
    assert update
    if needs_metadata is not None:
        update = replace(update, needs_metadata=needs_metadata)
    if third_party is not None:
        update = replace(update, third_party_ppmid=third_party)
    return replace(model, update=update)


@pytest.mark.rule(7, 64)
def test_the_models_behave_as_their_clauses_say() -> None:
    models = [load_model(name) for name in model_names()]
    assert check(models) == []
    assert matrix(models)["Annex D"] == {"Skyline i-510": True, "AM110R": False}


@pytest.mark.rule(7, 40)
def test_a_clause_of_the_old_number_is_a_mismatch() -> None:
    old = replace(AM110R, s1sr_clauses=(*AM110R.s1sr_clauses, "18.64"))
    assert check([old]) == [Mismatch("AM110R", "18.64", "hanlab knows no such clause")]
    assert "18.65(e)" in {c.number for c in CLAUSES}


@pytest.mark.rule(6, 7)
def test_a_size_limit_and_its_clauses_belong_together() -> None:
    assert {m.clause for m in check([without(AM110R, "18.65(e)")])} == {"18.65(e)"}
    unlimited = replace(AM110R, store=replace(AM110R.store, capacity=None))
    assert {m.clause for m in check([unlimited])} == {"18.65(e)"}


@pytest.mark.rule(7, 8)
@pytest.mark.parametrize("clause", ["18.63", "18.63(d)", "18.65(e)", "Annex D"])
def test_a_behaviour_without_its_clause_is_a_mismatch(clause: str) -> None:
    assert [m.clause for m in check([without(SKYLINE, clause)])] == [clause]


@pytest.mark.rule(8)
def test_the_three_behaviours_are_switches_of_their_own() -> None:
    third_party = switched(SKYLINE, third_party=True)
    assert [m.clause for m in check([third_party])] == ["Annex D"]
    metadata_only = replace(without(AM110R, "18.65(e)"), store=replace(AM110R.store, capacity=None))
    assert check([metadata_only]) == []
    size_only = switched(AM110R, needs_metadata=False)
    assert check([size_only]) == []


def test_what_holds_for_a_device_is_its_chs() -> None:
    wrong = replace(load_model("pipit-500"), s1sr_clauses=("18.63",))
    assert [m.what for m in check([wrong])] == ["what holds for a device is its CH's"]


@pytest.mark.rule(57, 119, 120, 144)
def test_cohorts_and_smsos() -> None:
    for name in model_names():
        model = load_model(name)
        smso = {"Secure": "Secure Meters", "Elster Honeywell": "Morrison Data Services"}
        assert (model.cohort, model.smso) == ("MOC", smso[model.population])


@pytest.mark.rule(25, 26, 27, 139)
@pytest.mark.parametrize(
    ("hub", "ppmid", "refused"),
    [
        ("skyline-i510", "sed-v3", True),
        ("skyline-i510", "pipit-500", False),
        ("am110r", "sed-v3", False),
        ("am110r", "pipit-500", False),
        ("skyline-i510", "as-300p", False),
    ],
)
def test_third_party_ppmids_are_refused_on_secure_only(hub: str, ppmid: str, refused: bool) -> None:
    device = Target("PPMID", bytes(8), load_model(ppmid))
    ch = Target("hub", bytes(8), load_model(hub))
    own = {"skyline-i510": "pipit-500", "am110r": "sed-v3"}[hub]
    assert is_third_party(device.model, ch.model) == (ppmid not in (own, "as-300p"))
    if not refused:
        refuse_third_party(device, ch)
        return
    with pytest.raises(ServiceRequestFailed) as e:
        refuse_third_party(device, ch)
    assert e.value.outcome is Outcome.THIRD_PARTY


# -- the rule table


def test_the_table_is_whole() -> None:
    table = rules()
    assert [r.number for r in table] == list(range(1, 147))
    for rule in table:
        assert rule.source in SOURCES
        assert rule.basis in BASIS
        assert rule.rule


def test_every_row_is_shown_by_a_test_or_open_with_a_reason() -> None:
    shown = coverage()
    missing = [r.number for r in rules() if not r.open and r.number not in shown]
    assert missing == []
    assert set(shown) <= {r.number for r in rules()}


def test_the_rows_of_dsp_and_s1sp_are_not_left_open() -> None:
    scope = {*range(1, 41), *range(78, 119), 142, 145}
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
    path.write_text("@pytest.mark.rule(3, 5)\nasync def test_b(): ...\ndef test_c(): ...\n")
    assert list(marked(path)) == [("test_b", [3, 5])]
