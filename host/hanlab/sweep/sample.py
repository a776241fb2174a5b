"""A share of the cuts, by a seed: of each kind of cut on each board as many as of any other."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

from hanlab.sweep.plan import Cut, How

Kind = tuple[str, How, bool]
"""The board whose operation is met, how, and whether everything loses power or that board alone."""


def kind_of(cut: Cut) -> Kind:
    return cut.board, cut.how, cut.everything


def sample(cuts: Iterable[Cut], every: int, seed: int) -> list[Cut]:
    """About one in `every` of `cuts`, in their order; all of them if it is 1.

    Taking each Nth of a list in which the kinds take turns would try the same kinds again and again. So
    each kind has its own draw: its operations are cut into stretches of `every`, and of each stretch one is
    taken by chance. That spreads over the whole update, and no kind of any board goes without.
    """
    given = list(cuts)
    kinds: dict[Kind, list[Cut]] = defaultdict(list)
    for cut in given:
        kinds[kind_of(cut)].append(cut)
    taken = set()
    for (board, how, everything), members in kinds.items():
        chance = random.Random(f"{seed} {board} {how} {everything}")
        for begin in range(0, len(members), every):
            place = begin + chance.randrange(every)
            if place < len(members):
                taken.add(members[place])
            elif not begin:  # fewer than `every` in all
                taken.add(chance.choice(members))
    return [cut for cut in given if cut in taken]
