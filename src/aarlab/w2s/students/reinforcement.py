"""What a student must offer to be rewarded for what it writes: the contract between a method and policy optimisation.

No torch here. `lora.LoraStudent` keeps it through `lora.grpo`; a method asks `aarlab.w2s.critic.needs` whether a
student does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from numpy.typing import ArrayLike

from aarlab.errors import InputError
from aarlab.w2s.task import Floats, Ints

Reward = Callable[[Ints, Sequence[str]], ArrayLike]
"""`reward(rows, texts)` gives one finite number per text, (b,); rows: (b,) which of the prompts each text answers.

Texts of one prompt are compared with each other only, so a reward may have another level for each prompt.
"""

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total); done and total in steps. One `what` is one bar."""


@dataclass(frozen=True)
class Reinforcement:
    """How writing is reinforced. The defaults are those of the 2026 study's released code, for a 4B model on a GPU.

    A step writes `group` texts for each of `prompts` prompts, rewards them, and moves the adapter once.
    """

    steps: int = 50
    prompts: int = 32
    group: int = 8
    tokens: int = 1024  # of one text at most
    rate: float = 1e-5  # constant
    kl: float = 0.02  # weight of the divergence from the untrained student
    temperature: float = 1.0
    top_p: float = 0.99
    micro: int = 8  # texts in one forward and backward pass: memory only

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "tokens", "micro"):
            if getattr(self, name) < 1:
                raise InputError(f"reinforcement: {name} is {getattr(self, name)}; at least 1 is needed")
        if self.group < 2:
            raise InputError(f"reinforcement: group is {self.group}; texts are compared in groups of at least 2")
        if not (self.rate > 0 and self.temperature > 0 and self.kl >= 0 and 0 < self.top_p <= 1):
            raise InputError("reinforcement: rate and temperature must be above 0, kl at least 0, top_p in (0, 1]")
        if self.texts % self.micro:
            raise InputError(
                f"reinforcement: {self.texts} texts a step do not divide into passes of micro={self.micro}"
            )

    @property
    def texts(self) -> int:
        """Texts written and rewarded in one step."""
        return self.prompts * self.group


@dataclass(frozen=True)
class Reinforced:
    """A student after reinforcement. `writer` writes as it was taught; a step's entries are from before its update."""

    writer: Writer
    rewards: Floats  # (steps,) mean reward of the step's texts
    lengths: Floats  # (steps,) their mean length in tokens


@runtime_checkable
class Writer(Protocol):
    """A student that writes and can be rewarded for it."""

    def generate(self, prompts: Sequence[str], tokens: int, seed: int = 0) -> list[str]:
        """Text written after each prompt, of `tokens` tokens at most."""
        ...

    def reinforce(
        self,
        prompts: Sequence[str],
        reward: Reward,
        seed: int = 0,
        settings: Reinforcement | None = None,
        progress: Progress | None = None,
    ) -> Reinforced:
        """Train an adapter so that texts of high reward become likelier; this student itself stays as it is.

        settings: None for the defaults. Raises InputError for no prompts and for rewards that are not finite.
        """
        ...
