"""The power sweep: a whole update, or a join, with the power cut at every flash operation of every board.

`plan.py` says which cuts there are and `sample.py` takes a share of them; `update.py` and `join.py` do it
once without a cut while `recorder.py` counts, and say what has to hold with one; `cut.py` does it with one
cut, `pool.py` on all cores, and `picture.py` draws what came of it.
"""
