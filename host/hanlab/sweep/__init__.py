"""The power sweep: a whole update, with the power cut at every flash operation of every board.

`plan.py` says which cuts there are and `sample.py` takes a share of them; `update.py` makes the update
once without a cut and counts, `cut.py` makes it with one cut and checks that nothing is lost, `pool.py`
does so on all cores, and `picture.py` draws what came of it.
"""
