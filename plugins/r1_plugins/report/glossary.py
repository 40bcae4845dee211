"""What the page's words mean, a sentence each, for whoever has not trained such models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r1_plugins.report.gather import RunFacts
from r1core.errors import R1Error
from r1core.store import read_json

OTHER = "A set of this recipe."
GLOSSARY: dict[str, str] = {
    "pass@1": "Share of held-out problems that a sampled answer solves.",
    "greedy": "The same with the most likely token at each place.",
    "hard": "pass@1 on problems longer than any in training.",
    "pass@k": "Share of problems that at least one of k answers solves; the unbiased estimate from all "
    "answers sampled.",
    "cons@k": "Share of problems that the majority of k answers solves.",
    "95 %": "Interval that would hold the true value in 95 of 100 repetitions with other problems of the same kind, "
    "and with other seeds where there are several.",
    "format": "Share of answers whose thinking and answer stand in their tags.",
    "language": "Mean share of the answer's words that are in the question's language.",
    "general": "Mean reward on questions without a checkable answer.",
    "helpful": "Mean reward for helpfulness.",
    "safe": "Share of answers that do no harm.",
    "length": "Tokens of an answer, thinking included.",
    "clipped_ratio": "Share of answers that were cut off at the limit of tokens.",
    "reward": "What an answer was worth: the weighted sum of its components, a mean over the batch.",
    "reward_std": "How far answers to one problem differ in reward. Without a difference there is nothing to learn.",
    "frac_reward_zero_std": "Silent groups: the share of problems all of whose answers were worth the same. They teach "
    "nothing.",
    "completions/mean_length": "Mean tokens of the answers sampled for the step.",
    "completions/clipped_ratio": "Share of the step's answers cut off at the limit of tokens.",
    "entropy": "How undecided the model is at a token, in nats. A fall to 0 means that it no longer explores.",
    "kl": "How far the policy is from its reference (kl) or from the one that sampled (ppo_kl), in nats per token.",
    "clip_ratio": "Share of tokens whose update was held back by the clip range.",
    "loss": "What the optimizer lowers. In RL it hovers around 0 and says little; look at accuracy.",
    "grad_norm": "Length of the gradient before clipping; spikes are a warning.",
    "learning_rate": "The optimizer's step size.",
    "agreement": "Share of tokens at which the student's first choice is the teacher's.",
    "reverse_kl": "How far the student's own answers are from what the teacher would write, in nats per token.",
    "accuracy": "Share of preference pairs that the reward model ranks as the data does.",
    "eval": "Measured on held-out problems while training, at the steps marked.",
    "verifier": "Share of answers without a clean verdict: a failure that the answer caused, a time-out, "
    "or infrastructure.",
    "judge": "Share of a judge's calls that failed, were retried or could not be read.",
    "sampler/logprob_gap": "Largest difference between the log-probs of the sampler and of the trainer: a check of "
    "the engines.",
    "time/step_s": "Seconds of one step.",
    "thinking": "Mean characters between the thinking tags, counted on the stored answers.",
    "reflection": "Words such as “wait” or “let me check” per 1,000 words, counted on the stored answers.",
    "language of the thinking": "Share of the thinking's words in the question's language: the reward for it "
    "where the stage has one, else counted by script on the stored answers. Without thinking it is 0.",
    "infrastructure": "A failure that says nothing about the answer: it is left out of training, never counted "
    "as wrong.",
    "budget": "Tokens learned from, written by the student and written by its teacher: what teachings are compared at.",
}


def words_of(facts: RunFacts) -> dict[str, str]:
    """The glossary of a run: how each set was sampled is added from the manifests of its evaluations."""
    ways: dict[str, dict[str, None]] = {}
    for stage in facts.of("evaluate"):
        for name, way in _ways(stage.folder / "data" / "manifest.json"):
            ways.setdefault(name, {})[way] = None
    measured = {name: f"{GLOSSARY.get(name, OTHER)} Here: {', or '.join(own)}." for name, own in ways.items()}
    return {**measured, **{name: words for name, words in GLOSSARY.items() if name not in measured}}


def _ways(manifest: Path) -> Iterator[tuple[str, str]]:
    """(set, how it was sampled) for each model; nothing of a manifest that is not there, or is of another version."""
    try:
        found = read_json(manifest)
        for name, asked in found["sets"].items():
            for model in found["models"].values():
                yield str(name), _way({**asked, **model.get("sampled", {})})
    except (R1Error, OSError, KeyError, TypeError, AttributeError, ValueError):
        return


def _way(asked: Mapping[str, Any]) -> str:
    """`8 answers to each of 500 problems, temperature 1, top-p 1`; pass@k from k = 2 on says its k."""
    samples, number = int(asked["samples"]), int(asked["problems"]["number"])
    told = f"{samples} answer{'s' if samples > 1 else ''} to each of {number:,} problems"
    told += f", temperature {asked['temperature']:g}, top-p {asked['top_p']:g}"
    return f"{told}, k = {asked['k']}" if asked["k"] != 1 else told


def meaning(name: str, words: Mapping[str, str] = GLOSSARY) -> str:
    """The sentence for a metric, whatever it is measured on; "" for one that a plugin brought."""
    for known in (name, name.partition("/")[0], name.rpartition("/")[2]):
        if known in words:
            return words[known]
    return ""
