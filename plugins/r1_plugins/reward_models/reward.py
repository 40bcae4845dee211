"""A reward model as a reward: one that a stage has trained, or any that classifies sequences.

{use: reward_model, model: helpful_rm, for: {domain: general}}                 # trained by the stage helpful_rm
{use: reward_model, model: skywork, layout: chat, scale: none}                 # a stage `skywork: {import: ...}`
{use: reward_model, model: toxicity, layout: pair, label: harmless, scale: softmax}
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from r1_plugins.reward_models.objective import sigmoid
from r1_plugins.reward_models.shown import Layout, Shown
from r1_plugins.reward_models.text import Sees
from r1core.choices import Ref
from r1core.components import Reward
from r1core.errors import RecipeError
from r1core.suggest import closest
from r1core.types import Floats, Problem, Response, Score

if TYPE_CHECKING:
    from r1_plugins.reward_models._classifier import Classifier
    from r1_plugins.reward_models._scorer import Scorer

NEEDS = ("torch", "transformers", "safetensors")
WHERE = "reward reward_model"


class RewardModel(Reward):
    """What a reward model says of an answer, between 0 and 1; 0 where it is to see a final answer and there is none.

    An answer's score does not depend on what else is asked (to 1e-6). Nothing is cut off: an answer that is too long
    for the model is worth 0. A score that is not finite, or a question that is too long alone, is an infrastructure
    failure: the answer did nothing wrong.
    """

    name = "reward_model"
    extra = "train"
    preload = ("r1_plugins.reward_models._scorer",)
    sees: ClassVar[Sees] = "answer"
    runs: ClassVar[Literal["worker", "stage"]] = "stage"

    class Config(Reward.Config):
        """Which model, what it sees, and how it is run."""

        model: Annotated[str, Ref("model", agree=("sees",))] = Field(
            description="the stage whose model scores; a stage that imports brings a folder's, or the hub's"
        )
        sees: Sees = Field("answer", description="what is shown of an answer, as in the model's training")
        layout: Layout = Field(
            "trained",
            description="how it is asked. trained: as the trainer reward_model asks; chat: the conversation through "
            "its own chat template; pair: question and answer as two texts",
        )
        label: str | None = Field(
            None, description="the label that is good, by name or number, of a model with several"
        )
        scale: Literal["sigmoid", "softmax", "none"] = Field(
            "sigmoid",
            description="probability of being good, by itself or among the labels; none: the score itself, with 0 for "
            "a missing answer",
        )
        max_tokens: int | None = Field(
            None, ge=1, description="most tokens of question and answer together; the model's own limit when absent"
        )
        micro_batch_tokens: int = Field(8192, ge=1, description="tokens of one micro-batch, padding included")
        device: Literal["auto", "cpu", "cuda"] = Field(
            "auto", description="where it runs; auto takes a GPU if there is one"
        )

        @model_validator(mode="after")
        def _labels_of_others(self) -> Self:
            if self.layout == "trained" and (self.label is not None or self.scale == "softmax"):
                raise ValueError(
                    "a model with layout `trained` has one score and no labels; for others say chat or pair"
                )
            return self

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._scorer: Scorer | Classifier | None = None
        self._label = 0
        self._most = math.inf

    @classmethod
    def check(cls) -> list[str]:
        """Which of the packages that run a model are not installed."""
        absent = [name for name in NEEDS if importlib.util.find_spec(name) is None]
        return [f"{', '.join(absent)} not installed: pip install 'r1core[train]'"] if absent else []

    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict on one answer."""
        return self.score_all([(problem, response)])[0]

    def score_all(self, asked: Sequence[tuple[Problem, Response]]) -> list[Score]:
        """The verdicts on many answers. Raises SetupError when the model cannot be loaded or run."""
        scorer = self._loaded()
        shown = [scorer.shown(problem, response, self.config.sees) for problem, response in asked]
        fits = [one for one in shown if one is not None and len(one.ids) <= self._most]
        values = iter(self._scaled(scorer.logits(fits)))
        found = []
        for (problem, _), one in zip(asked, shown, strict=True):
            if one is None:
                found.append(Score(value=self.lowest, status="answer_failure", reason="no_answer"))
            elif len(one.ids) > self._most:
                found.append(self._too_long(scorer, problem, one))
            else:
                found.append(_verdict(next(values)))
        return found

    def _loaded(self) -> Scorer | Classifier:
        if self._scorer is None:
            self._scorer = self._opened(Path(self.config.model))
            self._label = _label(self._scorer.labels, self.config)
            longest = self._scorer.longest
            if self.config.max_tokens is not None and longest is not None and self.config.max_tokens > longest:
                raise RecipeError(
                    f"max_tokens is {self.config.max_tokens}, but the model reads {longest} at most",
                    where=WHERE,
                    fix="lower it, or leave it out",
                )
            self._most = self.config.max_tokens or longest or math.inf
        return self._scorer

    def _opened(self, folder: Path) -> Scorer | Classifier:
        options = self.config
        if options.layout == "trained":
            from r1_plugins.reward_models._scorer import Scorer

            return Scorer(folder, device=options.device, micro_batch_tokens=options.micro_batch_tokens)
        from r1_plugins.reward_models._classifier import Classifier

        return Classifier(
            folder, layout=options.layout, device=options.device, micro_batch_tokens=options.micro_batch_tokens
        )

    def _scaled(self, logits_NL: Floats) -> Floats:
        """(N,) the values of the label; what is not finite stays so."""
        own_N = logits_NL[:, self._label]
        if self.config.scale == "none":
            return own_N
        with np.errstate(invalid="ignore"):
            if self.config.scale == "sigmoid":
                return sigmoid(own_N)
            chances_N: Floats = np.exp(own_N - np.logaddexp.reduce(logits_NL, axis=1))
            return chances_N

    def _too_long(self, scorer: Scorer | Classifier, problem: Problem, shown: Shown) -> Score:
        """The answer's fault, unless the question alone leaves no room for one."""
        empty = Response(text="", thinking=None, answer="", tagged=False)
        alone = scorer.shown(problem, empty, self.config.sees)
        if alone is not None and len(alone.ids) > self._most:
            return Score(value=math.nan, status="infrastructure", reason="question_too_long")
        reason = f"too_long: {len(shown.ids)} tokens of {self._most:g}"
        return Score(value=self.lowest, status="answer_failure", reason=reason)


def _label(labels: Sequence[str], options: RewardModel.Config) -> int:
    """The number of the label that is good."""
    if options.label is None:
        if len(labels) == 1:
            return 0
        raise RecipeError(
            f"the model has {len(labels)} labels: {', '.join(labels)}", where=WHERE, fix="say which is good: `label`"
        )
    if options.label in labels:
        return list(labels).index(options.label)
    if options.label.isdecimal() and int(options.label) < len(labels):
        return int(options.label)
    near = closest(options.label, labels)
    raise RecipeError(
        f"the model has no label {options.label!r}; labels: {', '.join(labels)}",
        where=WHERE,
        fix=f"did you mean {near!r}?" if near else "write one of them",
    )


def _verdict(value: float) -> Score:
    if not math.isfinite(value):
        return Score(value=math.nan, status="infrastructure", reason="score_not_finite")
    return Score(value=float(value))
