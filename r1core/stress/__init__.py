"""Stress: can a reward be fooled? Attacks made from its own cases, asked as in training (`r1 verify --stress`).

reading.py     what a file of cases says of its reward: what is paid, what is looked at
absent, hedged, boxes, talk, values, form, hostile    the attacks; equivalent.py: what must be paid
corpus.py, trial.py    all questions; asking them twice, and what came of it
probes.py      the part of it that every reward's suite asks
"""
