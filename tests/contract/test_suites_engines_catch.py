"""Every promise of the suites of engines and trainers can be broken, and the breach is said in one sentence.

One toy, or several, for each promise; sound ones break none. What the built-ins do is in test_suites_engines.py.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_engines import ECHO, HEAD

from r1core.testing import ObjectiveSuite, PolicySuite, SamplerSuite, TrainerSuite
from r1core.testing.suite import ComponentSuite

# --- toys ------------------------------------------------------------------------------------------

Broken = tuple[type[ComponentSuite], str, str, str]
"""A suite, its promise, the toy that breaks it, and what is said of it."""
BROKEN: list[Broken] = [
    (PolicySuite, "an_answer_comes_back_as_it_was", "Tagless", r"decode\(completion_ids\('<think>One.*gives 'One"),
    (PolicySuite, "a_finished_answer_ends_with_the_end_token", "Endless", "completion_ids ends with .*not with one"),
    (PolicySuite, "a_prompt_holds_the_question", "Incurious", "the same tokens for different questions"),
    (PolicySuite, "a_started_answer_is_gone_on_from", "Restarting", "prefilled is '' where"),
    (PolicySuite, "a_started_answer_is_gone_on_from", "Dropping", "the prompt of a started answer ends in"),
    (PolicySuite, "logprobs_are_log_probabilities", "Probable", "a log-probability is .*, above 0"),
    (PolicySuite, "logprobs_are_log_probabilities", "Misshapen", r"have the shape \(\d+,\), not \(\d+,\)"),
    (PolicySuite, "logprobs_are_log_probabilities", "Infinite", "logprobs are not finite: -inf"),
    (PolicySuite, "logprobs_are_log_probabilities", "Raising", r"ZeroDivisionError: .*toy_engines.py:\d+\), so this"),
    (PolicySuite, "logprobs_depend_on_their_own_sequence_alone", "Sociable", "differ by 0.11 .*sequences alone"),
    (PolicySuite, "logprobs_depend_on_their_own_sequence_alone", "Ordered", "differ by .*"),
    (PolicySuite, "an_update_makes_a_sequence_likelier", "Backwards", "took the log-probability from"),
    (PolicySuite, "an_update_makes_a_sequence_likelier", "Silent", "update reports grad_norm: None"),
    (PolicySuite, "a_learning_rate_of_nought_changes_nothing", "Eager", "lr 0 changed model.safetensors"),
    (PolicySuite, "an_update_does_not_depend_on_order_or_split", "FirstCome", "in another order make another step"),
    (PolicySuite, "an_update_does_not_depend_on_order_or_split", "Unweighted", "half the weight make another step"),
    (PolicySuite, "a_frozen_policy_stays_as_it_is", "Shared", "a frozen policy made before an update differs by"),
    (PolicySuite, "an_exported_model_is_the_policy", "Rounding", "the exported model differs by"),
    (PolicySuite, "a_saved_policy_goes_on_to_the_same_bytes", "Forgetful", "other bytes in model.safetensors"),
    (PolicySuite, "nothing_is_pickled", "Pickling", "optimizer.bin is a pickle .in the saved folder."),
    (PolicySuite, "weights_are_a_matter_of_the_seed", "Seedless", "the same weights whatever the seed"),
    (PolicySuite, "weights_are_a_matter_of_the_seed", "Unseeded", "same seed writes other bytes of model.safetensors"),
    (PolicySuite, "a_score_head_is_learned_and_kept", "Unlearning", "did not raise the scores"),
    (SamplerSuite, "every_sample_comes_exactly_once", "Repeating", "of 18 samples 1 never came, and 1 came twice"),
    (SamplerSuite, "every_sample_comes_exactly_once", "Misprompting", "prompt_ids are not those of its request"),
    (SamplerSuite, "an_answer_depends_on_its_key_alone", "Batching", "of 18 answers are others .* in another order"),
    (SamplerSuite, "an_answer_depends_on_its_key_alone", "Remembering", "of 18 answers are others .* asked again"),
    (SamplerSuite, "other_keys_give_other_answers", "Deaf", "all 6 answers to each of 3 problems are the same"),
    (SamplerSuite, "no_answer_is_longer_than_asked", "Talkative", "tokens where max_new_tokens is 2"),
    (SamplerSuite, "no_answer_is_longer_than_asked", "Finishing", "was cut off says finish 'stop'"),
    (SamplerSuite, "no_answer_is_longer_than_asked", "Limited", "is not the beginning of the answer with the same key"),
    (SamplerSuite, "temperature_nought_is_greedy", "Warm", "at temperature 0 the answer depends on the key"),
    (SamplerSuite, "temperature_nought_is_greedy", "Timid", "nats less likely than one that was sampled"),
    (SamplerSuite, "logprobs_are_the_policys", "Doubting", "differ by 0.1 nats a token from the policy's"),
    (SamplerSuite, "logprobs_are_the_policys", "Reticent", "have the shape None"),
    (SamplerSuite, "a_response_is_what_was_decoded", "Unopened", "response is .*after '<think>One' parses as"),
    (SamplerSuite, "a_prefix_is_gone_on_from", "Rewinding", "the prefix of .* tokens is repeated"),
    (SamplerSuite, "a_prefix_is_gone_on_from", "Unopened", "response is .*after '.+' parses as"),
    (SamplerSuite, "a_prefix_is_gone_on_from", "Doubting", "differ by 0.1 nats .*the policy's after the prefix"),
    (SamplerSuite, "a_prefix_is_gone_on_from", "Wandering", "gone on from its half ends otherwise than the whole"),
    (SamplerSuite, "a_prefix_is_gone_on_from", "Rehearsing", "the prefix of .* tokens is repeated in completion_ids"),
    (SamplerSuite, "weights_are_counted", "Uncounted", r"weights_version is \[\[0\], \[0\], \[0\]\]"),
    (SamplerSuite, "after_a_sync_the_weights_are_the_new_ones", "Stale", "the policy's after an update and a sync"),
    (ObjectiveSuite, "losses_and_gradients_are_finite", "Exploding", "the loss is -?inf at log-ratio 30, advantage -2"),
    (ObjectiveSuite, "losses_and_gradients_are_finite", "Aggregated", r"the shape \(\): one number for each"),
    (ObjectiveSuite, "no_advantage_gives_no_gradient", "Restless", "the gradient is -1 at log-ratio 0, advantage 0"),
    (ObjectiveSuite, "an_advantage_pushes_its_token", "Reversed", "advantage of -2 has the gradient -2: .* likelier"),
    (ObjectiveSuite, "it_is_the_formula", "Reversed", "the loss is 80 at log-ratio 0, .*by the formula 2"),
    (ObjectiveSuite, "it_reads_what_it_declares", "Peeking", "it reads what it does not declare .*'entropy'"),
    (ObjectiveSuite, "columns_stay_as_they_are", "Writing", "it writes to column 'advantage'"),
    (ObjectiveSuite, "columns_stay_as_they_are", "Wavering", "asked twice about the same tokens"),
    (ObjectiveSuite, "a_loss_depends_on_its_own_alone", "Centred", "changes with the advantage of another token"),
    (ObjectiveSuite, "a_loss_depends_on_its_own_alone", "Whole", "changes with the logprob of another token"),
    (TrainerSuite, "it_cannot_do_without_what_it_reads", "Misread", "reads names 'promblems', which no stage can give"),
    (TrainerSuite, "presets_are_valid", "Mispreset", "preset 'fast' is not valid: .*no_such_option"),
    (TrainerSuite, "it_takes_the_planned_steps", "Hasty", "it took 3 steps, 4 were planned"),
    (TrainerSuite, "it_takes_the_planned_steps", "Overstated", "planned_steps is 5, but it asked for 4"),
    (TrainerSuite, "it_takes_the_planned_steps", "Breaking", "a stage broke: ZeroDivisionError: a bug of the toy"),
    (TrainerSuite, "its_numbers_are_finite", "Mute", "step 1 reports no loss, only grad_norm"),
    (TrainerSuite, "its_numbers_are_finite", "Nan", "step 1 reports reward: nan"),
    (TrainerSuite, "it_measures_what_it_says", "Unmeasured", "measures names 'eval/skill', which no step reports"),
    (
        TrainerSuite,
        "it_leaves_the_same_bytes_again",
        "Dicing",
        "run again it leaves other bytes in .*model.safetensors",
    ),
    (
        TrainerSuite,
        "killed_after_every_step_it_leaves_the_same_bytes",
        "Counting",
        "gone on with, it leaves other bytes",
    ),
    (
        TrainerSuite,
        "killed_after_every_step_it_leaves_the_same_bytes",
        "Unresumable",
        "of 4 steps none could be gone on",
    ),
]


def suite_of(base: type[ComponentSuite], toy: str, **attributes: Any) -> Any:
    """The suite of a toy, as its author would write it."""
    file = "toy_engines.py" if base.kind in ("policy", "sampler") else "toy_trainers.py"
    component = f"./{file}:{toy}"
    of_kind: dict[str, Any] = {
        "policy": {"architecture": ECHO, "source": "echo", "lr": 0.1},
        "sampler": {"policy": "echo", "architecture": ECHO, "source": "echo", "lr": 0.1},
        "objective": {
            "reference": staticmethod(lambda log_ratio, advantage: -advantage * np.exp(np.clip(log_ratio, -20, 20)))
        },
        "trainer": {
            "stage": "toy",
            "recipe": HEAD + f"  toy: {{train: {{use: {component}}}, model: base, data: echo}}",
        },
    }[base.kind]
    made = type(f"Suite{toy}", (base,), {**of_kind, "component": component, "__module__": __name__, **attributes})
    return made()


@pytest.fixture
def keep_promise(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, str], None]:
    """Call one test of a suite, with the fixtures that it asks for."""
    fixtures = {"tmp_path": tmp_path, "tmp_path_factory": tmp_path_factory}

    def call(suite: Any, promise: str) -> None:
        test = getattr(suite, f"test_{promise}")
        test(*(fixtures[name] for name in inspect.signature(test).parameters))

    return call


@pytest.mark.parametrize(("base", "promise", "toy", "said"), BROKEN, ids=[f"{b[2]}-{b[1]}" for b in BROKEN])
def test_a_broken_promise_is_said_in_a_sentence(
    base: type[ComponentSuite], promise: str, toy: str, said: str, keep_promise: Callable[[Any, str], None]
) -> None:
    with pytest.raises(pytest.fail.Exception, match=said) as caught:
        keep_promise(suite_of(base, toy), promise)
    assert caught.value.pytrace is False
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("base", [PolicySuite, SamplerSuite, ObjectiveSuite, TrainerSuite], ids=lambda base: base.kind)
def test_every_promise_of_a_suite_can_be_broken(base: type[ComponentSuite]) -> None:
    promises = {name.removeprefix("test_") for name in vars(base) if name.startswith("test_")}
    assert {promise for suite, promise, _, _ in BROKEN if suite is base} == promises


@pytest.mark.parametrize("promise", [p for s, p, _, _ in BROKEN if s is ObjectiveSuite])
@pytest.mark.parametrize(("toy", "scope"), [("Reinforce", "token"), ("Whole", "sequence")])
def test_a_sound_objective_breaks_no_promise(
    toy: str, scope: str, promise: str, keep_promise: Callable[[Any, str], None]
) -> None:
    free = {"scope": scope, "reference": staticmethod(ObjectiveSuite.reference)} if scope == "sequence" else {}
    keep_promise(suite_of(ObjectiveSuite, toy, **free), promise)


@pytest.mark.parametrize("promise", dict.fromkeys(p for s, p, _, _ in BROKEN if s is TrainerSuite))
def test_a_sound_trainer_breaks_no_promise(promise: str, keep_promise: Callable[[Any, str], None]) -> None:
    keep_promise(suite_of(TrainerSuite, "Steady"), promise)


# --- what a suite must be told ---------------------------------------------------------------------


def test_an_objective_without_torch_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, keep_promise: Callable[[Any, str], None]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(pytest.fail.Exception, match=r"not installed: pip install 'r1core\[train\]'"):
        keep_promise(suite_of(ObjectiveSuite, "Reinforce"), "no_advantage_gives_no_gradient")


@pytest.mark.parametrize(
    ("base", "toy", "attributes", "promise", "said"),
    [
        (PolicySuite, "Shared", {"source": ""}, "nothing_is_pickled", 'has no source: set source = "name"'),
        (PolicySuite, "Shared", {"lr": 1e-9}, "a_frozen_policy_stays_as_it_is", "too little to see: raise `lr`"),
        (SamplerSuite, "Stale", {"policy": ""}, "weights_are_counted", 'has no policy: set policy = "name"'),
        (SamplerSuite, "Stale", {"lr": 1e-9}, "after_a_sync_the_weights_are_the_new_ones", "too little to see"),
        (
            TrainerSuite,
            "Steady",
            {"stage": "base"},
            "it_measures_what_it_says",
            "'base' is not trained by ./toy_trainers",
        ),
        (TrainerSuite, "Steady", {"recipe": ""}, "it_measures_what_it_says", "needs a recipe and the stage in it"),
        (TrainerSuite, "Steady", {"recipe": "r1: 2\n"}, "it_measures_what_it_says", "recipe is not valid"),
    ],
)
def test_a_suite_says_what_it_lacks(
    base: type[ComponentSuite],
    toy: str,
    attributes: Any,
    promise: str,
    said: str,
    keep_promise: Callable[[Any, str], None],
) -> None:
    with pytest.raises(pytest.fail.Exception, match=said):
        keep_promise(suite_of(base, toy, **attributes), promise)
