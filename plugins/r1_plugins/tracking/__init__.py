"""Observers that send a run's numbers to a tracker: `tensorboard`, `wandb`, `trackio`; none is on by default.

    observers: [tensorboard, wandb, trackio]
    observers: [{use: wandb, mode: online, project: reasoners}]

Each stage is one run of the tracker, grouped by the recipe's run. Nothing is asked of a person, ever:
what a tracker lacks is one sentence, and the run goes on without it. The numbers are those of
`metrics.jsonl`; steps that a kill made to be done again come again, and the later ones hold.
"""
