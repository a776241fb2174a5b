# The steps in which frame counters are set aside, to the frame: a counter that is used and not set aside is used again
# after a power cut.
from test_han_network import PPMID_EUI, flash, made_counters

from smets1.han.counters import FREE, NONE

STEP = 10


def after_a_power_cut(path):
    """The first counter of the next start, with no luck: nothing is skipped by lot (random gives zeros)."""
    return made_counters(path, step=STEP).next()


def test_no_counter_is_used_that_is_not_set_aside():
    for sent in range(1, 3 * STEP + 2):
        path = flash() + "/n.cnt"
        counters = made_counters(path, step=STEP)
        last = -1
        for _ in range(sent):
            counter = counters.next()
            assert counter > last
            last = counter
        assert after_a_power_cut(path) > last, sent


def test_a_step_is_as_long_as_it_says():
    path = flash() + "/n.cnt"
    counters = made_counters(path, step=STEP)
    first = counters.next()
    assert after_a_power_cut(path) == first + STEP, "no more is skipped than was set aside"


def test_neighbours_counters_are_due_with_the_last_frame_of_a_step():
    path = flash() + "/n.cnt"
    counters = made_counters(path, step=STEP)
    for n in range(STEP):
        assert not counters.due
        counters.accept(PPMID_EUI, 100 + n)
    assert counters.due
    counters.keep()
    assert not counters.due
    assert made_counters(path, step=STEP).last(PPMID_EUI) == 100 + STEP - 1


def test_a_neighbour_that_has_seen_the_next_counter_is_believed():
    path = flash() + "/n.cnt"
    counters = made_counters(path, step=STEP)
    assert counters.told(NONE) == "", "a new HAN"
    ours = counters.next()
    assert counters.told(ours) == "", "it has seen what we sent"
    assert counters.next() == ours + 1
    assert counters.told(ours + 2) != "", "it has seen the one that would be the next"
    assert counters.next() > ours + 2


def test_counters_that_are_used_up_are_never_used_again():
    path = flash() + "/n.cnt"
    counters = made_counters(path, step=STEP)
    counters._next = counters._limit = FREE - STEP - 1  # as after two thousand million frames
    used = [counters.next() for _ in range(STEP)]
    assert len(set(used)) == STEP and max(used) < FREE
    last = used[-1]
    try:
        while True:
            last = counters.next()
            assert last < FREE and last not in used
            used.append(last)
    except RuntimeError as e:
        assert "provision another key" in str(e)
    try:
        made_counters(path, step=STEP)
        raise AssertionError("it began again")
    except RuntimeError as e:
        assert "provision another key" in str(e)
