"""Rewards that run in the stage's own process (`runs = "stage"`).

Models are asked for all answers of a batch at once, in the stage's thread: they need its device. Those
that ask somewhere else (`remote`: judges) wait for most of their time, so they are asked in a thread,
for each group that is complete, while the stage goes on sampling.
"""

from __future__ import annotations

import queue
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from r1core.components import Reward
from r1core.contexts import RewardContext
from r1core.errors import R1Error, SetupError
from r1core.scoring.wire import Outcome, failure, lost, outcome_of
from r1core.scoring.worker import build_reward, load_reward
from r1core.types import Problem, Response
from r1core.untrusted import untrusted

Answers: TypeAlias = Sequence[tuple[int, Problem, Response]]
"""Answers by their number in the batch."""


def build_here(name: str, target: str, options: Mapping[str, Any]) -> Reward:
    """The reward itself. Raises SetupError when it cannot be built."""
    try:
        return build_reward(load_reward(target), options)
    except R1Error:
        raise
    except Exception as error:
        raise SetupError(
            f"reward {name!r} cannot be built: {type(error).__name__}: {error}",
            where="scoring",
            fix="run `r1 doctor`, or mend the reward",
        ) from error


def prepare_here(name: str, reward: Reward, context: RewardContext) -> None:
    """Before its first answer. Raises the R1Error that it raises, and SetupError for all else."""
    try:
        reward.prepare(context)
    except R1Error:
        raise
    except Exception as error:
        raise SetupError(
            f"reward {name!r} cannot be prepared: {type(error).__name__}: {error}",
            where="scoring",
            fix="mend what it depends on, or the reward, and run the same command again",
        ) from error


def ask_here(reward: Reward, asked: Sequence[tuple[Problem, Response]]) -> list[Outcome]:
    """The outcomes of one reward. Where asking for all at once fails, each is asked alone, so that one answer cannot
    spoil the others; where it fails about all of them, or at a distance, it is not the answers that are to blame."""
    if not asked:
        return []
    try:
        scores = reward.score_all(asked)
        if len(scores) != len(asked):
            raise RuntimeError(f"reward {reward.name!r} gave {len(scores)} scores for {len(asked)} answers")
        return [outcome_of(score) for score in scores]
    except R1Error:
        raise
    except Exception as error:
        if reward.remote:
            return [lost(_raised(error)) for _ in asked]
        alone = [_asked_alone(reward, problem, response) for problem, response in asked]
        is_broken = all(outcome.status == "answer_failure" for outcome in alone)
        return [lost(outcome.reason) for outcome in alone] if is_broken else alone


def _asked_alone(reward: Reward, problem: Problem, response: Response) -> Outcome:
    try:
        return outcome_of(reward.score(problem, response))
    except R1Error:
        raise
    except Exception as error:
        return failure(_raised(error))


def _raised(error: Exception) -> str:
    return f"verifier_error: {type(error).__name__}"


class Asking:
    """One reward and what it was asked in one batch, group by group."""

    def __init__(self, reward: Reward) -> None:
        self._reward = reward
        self._groups: list[Answers] = []

    def add(self, group: Answers) -> None:
        """A group is complete."""
        self._groups.append(group)

    def outcomes(self) -> dict[int, Outcome]:
        """What it says of each answer. Raises the R1Error that it raised."""
        return _ask(self._reward, [answer for group in self._groups for answer in group])


class AskingMeanwhile(Asking):
    """The same in a thread: it is asked at once for whatever groups are complete."""

    def __init__(self, reward: Reward) -> None:
        super().__init__(reward)
        self._complete: queue.SimpleQueue[Answers | None] = queue.SimpleQueue()
        self._outcomes: dict[int, Outcome] = {}
        self._error: BaseException | None = None
        self._is_forgotten = False
        self._thread = threading.Thread(target=self._run, name=f"r1-{reward.name}", daemon=True)
        self._thread.start()

    def add(self, group: Answers) -> None:
        """A group is complete. Raises what the reward has raised about earlier ones: sampling on would be in vain."""
        if self._error is not None:
            raise self._error
        self._complete.put(group)

    def outcomes(self) -> dict[int, Outcome]:
        """What it says of each answer, when it has said it."""
        self.let_go()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._outcomes

    def let_go(self) -> None:
        """Nothing more comes."""
        self._complete.put(None)

    def forget(self) -> None:
        """Ask about nothing more; returns when what is under way has come to its end, and is on record."""
        self._is_forgotten = True
        self.let_go()
        self._thread.join()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())  # they are the main thread's
        try:
            while (groups := self._next())[0] is not None and not self._is_forgotten:
                answers = [answer for group in groups if group is not None for answer in group]
                self._outcomes |= _ask(self._reward, sorted(answers, key=lambda answer: answer[0]))
                if groups[-1] is None:
                    return
        except BaseException as error:
            self._error = error

    def _next(self) -> list[Answers | None]:
        """All that has come, at least one thing; None, the end, is the last."""
        found = [self._complete.get()]
        while found[-1] is not None:
            try:
                found.append(self._complete.get_nowait())
            except queue.Empty:
                break
        return found


def _ask(reward: Reward, answers: Answers) -> dict[int, Outcome]:
    found = ask_here(reward, [(problem, response) for _, problem, response in answers])
    return {number: outcome for (number, _, _), outcome in zip(answers, found, strict=True)}


# --- where there is no stage -------------------------------------------------------------------------


class NoStages:
    """What rewards are prepared with where answers are scored outside a run: their records do not last."""

    def __init__(self) -> None:
        self._folders: list[tempfile.TemporaryDirectory[str]] = []

    def __call__(self, part: str) -> RewardContext:
        """A context with a folder of its own."""
        self._folders.append(tempfile.TemporaryDirectory(prefix=f"r1-{part}-"))
        return _NoStage(Path(self._folders[-1].name))

    def close(self) -> None:
        """Remove the folders."""
        for folder in self._folders:
            folder.cleanup()
        self._folders.clear()


class _NoStage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self, text: str) -> None:
        """Whoever waits for the answer sees it."""
        print(untrusted(text), file=sys.stderr, flush=True)

    def stopping(self) -> bool:
        """Nobody asks to stop but by a signal."""
        return False
