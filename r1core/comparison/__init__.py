"""What was done twice with one thing changed, side by side: the numbers behind `r1 compare`, `ablate`, `advantages`.

`statistics.py` has the formulas; `stored.py` and `estimators.py` look at stored rollouts through several
advantage estimators; `finished.py`, `lineage.py` and `tables.py` read runs, hold what their models
were made from against each other, and put scores, intervals and costs side by side; `arms.py` does so with the
models of one run, by what each took (`spent.py`).
"""
