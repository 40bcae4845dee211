"""How a recipe chooses: options that are checked, components by name, references to other stages' artifacts.

    class Config(Trainer.Config):
        advantage: UseAdvantage = Field(Use(use="mine"), description="advantage estimator")
        teacher: ModelRef = Field(description="the stage whose model grades")

The plan walks these types (recipe/annotations.py): names are looked up, references become edges.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1core.errors import SetupError

KIND_IN_SCHEMA = "r1-kind"
"""The key of a JSON Schema that stands for "a component of this kind"."""


class Options(BaseModel):
    """The base of every `Config`: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ObserverOptions(Options):
    """The base of what an observer takes in a recipe: `observers: [{use: name, option: value}]`."""

    def hosts(self) -> tuple[str, ...]:
        """The hosts that it sends to, for `--dry-run`; none for one that stays on this machine."""
        return ()


class Secret(Options):
    """A key by the name of the environment variable that holds it: `{env: NAME}`.

    Only the name is ever written, printed or hashed; a recipe cannot hold the key itself.
    """

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="the environment variable that holds the key")

    def reveal(self) -> str:
        """The key, to be sent and forgotten. Raises SetupError, which never shows it, when it is missing or no key."""
        key = os.environ.get(self.env, "").strip()
        if not key:
            raise SetupError(f"the environment variable {self.env} is not set", fix=f"export {self.env}=...")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise SetupError(
                f"the environment variable {self.env} holds no key: spaces, or characters outside ASCII",
                fix=f"set {self.env} to the key alone",
            )
        return key


def key_names(options: Any) -> Iterator[str]:
    """The environment variables that a stage's plain options name as `{env: NAME}`, wherever they stand."""
    if isinstance(options, dict) and list(options) == ["env"]:
        yield str(options["env"])
    elif isinstance(options, dict | list):
        for item in options.values() if isinstance(options, dict) else options:
            yield from key_names(item)


class Use(BaseModel):
    """A component chosen by name, with its options: `name` or `{use: name, option: value}`.

    Everything beside `use` is an option of the component and is checked by its `Config`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str = Field(description="the component's name: bare for built-ins, plugin/component, or ./file.py:Class")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """Everything beside `use`."""
        return dict(self.model_extra or {})


class Kind:
    """Marks a `Use` field with the kind of component it names: `Annotated[Use, Kind("advantage")]`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_json_schema__(self, _core: Any, _handler: Any) -> dict[str, Any]:
        """For editors: which components there are is known to the plugin host alone (recipe/json_schema.py)."""
        return {KIND_IN_SCHEMA: self.kind}


class Ref:
    """Marks a string field that names a stage's artifact: an edge of the graph and part of the fingerprint.

    While a recipe is planned the value is a stage id; a running component gets the artifact's folder.
    """

    def __init__(self, artifact: Literal["model", "data", "signals"], *, agree: tuple[str, ...] = ()) -> None:
        self.artifact = artifact
        self.agree = agree
        """Options that must be those of the trainer that made the artifact: what a reward model `sees`."""


class Uncounted:
    """Marks an option that decides how fast something goes, or how far, and never what comes out: a time-out, a cap on
    cost. `Annotated[float, Uncounted()]`. It is no part of the fingerprint, so a half-done stage goes on with another.

    `unless` names an option beside it without which it counts after all: a server's address, unless another option
    says whose answers these are.
    """

    def __init__(self, *, unless: str = "") -> None:
        self.unless = unless


class OfProblem:
    """Marks an option that picks problems by their fields: `Annotated[dict[str, str], OfProblem()]`."""


UseAdvantage: TypeAlias = Annotated[Use, Kind("advantage")]
UseObjective: TypeAlias = Annotated[Use, Kind("objective")]
UseFilter: TypeAlias = Annotated[Use, Kind("filter")]
UseTeacher: TypeAlias = Annotated[Use, Kind("sampler")]
"""A sampler in a component's options: one that grades (`score`), the plan refuses others."""
UseSource: TypeAlias = Annotated[Use, Kind("source")]
ModelRef: TypeAlias = Annotated[str, Ref("model")]
DataRef: TypeAlias = Annotated[str, Ref("data")]
SignalsRef: TypeAlias = Annotated[str, Ref("signals")]
ProblemFields: TypeAlias = Annotated[dict[str, str], OfProblem()]
