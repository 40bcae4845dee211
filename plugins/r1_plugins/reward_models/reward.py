"""A trained reward model as a reward: `{use: reward_model, model: helpful_rm, for: {domain: general}}`."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from r1_plugins.reward_models.objective import sigmoid
from r1_plugins.reward_models.text import Sees, scored_sequence
from r1core.choices import Ref
from r1core.components import Reward
from r1core.types import Problem, Response, Score

if TYPE_CHECKING:
    from r1_plugins.reward_models._scorer import Scorer

NEEDS = ("torch", "transformers", "safetensors")


class RewardModel(Reward):
    """What a reward model says of an answer, between 0 and 1; 0 where it is to see a final answer and there is none.

    An answer's score does not depend on what else is asked (to 1e-6). A score that is not finite is an
    infrastructure failure: the answer did nothing wrong.
    """

    name = "reward_model"
    extra = "train"
    preload = ("r1_plugins.reward_models._scorer",)
    sees: ClassVar[Sees] = "answer"
    runs: ClassVar[Literal["worker", "stage"]] = "stage"

    class Config(Reward.Config):
        """Which model, what it sees, and how it is run."""

        model: Annotated[str, Ref("model", agree=("sees",))] = Field(description="the stage whose model scores")
        sees: Sees = Field("answer", description="what is shown of an answer, as in the model's training")
        scale: Literal["sigmoid", "none"] = Field(
            "sigmoid", description="probability of being good; none: the score itself, with 0 for a missing answer"
        )
        micro_batch_tokens: int = Field(8192, ge=1, description="tokens of one micro-batch, padding included")
        device: Literal["auto", "cpu", "cuda"] = Field(
            "auto", description="where it runs; auto takes a GPU if there is one"
        )

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._scorer: Scorer | None = None

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
        sequences = [scored_sequence(scorer.text, problem, response, self.config.sees) for problem, response in asked]
        values = iter(scorer.scores([sequence for sequence in sequences if sequence is not None]))
        return [self._missing() if sequence is None else self._verdict(next(values)) for sequence in sequences]

    def _loaded(self) -> Scorer:
        if self._scorer is None:
            from r1_plugins.reward_models._scorer import Scorer

            self._scorer = Scorer(self.config)
        return self._scorer

    def _missing(self) -> Score:
        return Score(value=self.lowest, status="answer_failure", reason="no_answer")

    def _verdict(self, value: float) -> Score:
        if not math.isfinite(value):
            return Score(value=math.nan, status="infrastructure", reason="score_not_finite")
        return Score(value=float(sigmoid(np.array(value))) if self.config.scale == "sigmoid" else value)
