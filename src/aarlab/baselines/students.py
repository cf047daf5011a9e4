"""The student that a table is measured with: the problem's own probe, or a language model fine-tuned with LoRA."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aarlab.errors import InputError, UnknownName

if TYPE_CHECKING:
    from aarlab.w2s.students.base import Student

NAMES = ("probe", "lora")


@dataclass(frozen=True)
class StudentChoice:
    """Which student, and for LoRA which model, how many epochs, and on how many items of a task (0: all)."""

    name: str = "probe"
    model: str = ""
    items: int = 0
    epochs: float = 0.0

    @property
    def known_ceiling(self) -> bool:
        """Whether the packs' floor and ceiling hold for it: they were measured with the probe on all items."""
        return self.name == "probe" and not self.items

    @property
    def reads(self) -> bool:
        """Whether it needs the items' texts."""
        return self.name == "lora"

    def flags(self) -> list[str]:
        """The flags that choose it."""
        if self.name == "probe":
            return ["--items", str(self.items)] if self.items else []
        values = {"--student": self.name, "--model": self.model, "--items": self.items, "--epochs": self.epochs}
        return [str(word) for flag, value in values.items() if value for word in (flag, value)]

    def __str__(self) -> str:
        if self.name == "probe":
            words = ["the probe student (a logistic head on frozen features)"]
        else:
            words = [f"the LoRA student ({self.model}" + (f", {self.epochs:g} epochs)" if self.epochs else ")")]
        return " ".join(words + ([f"on {self.items} items of each task"] if self.items else []))

    def make(self) -> Student | None:
        """The student; None for the problem's own probe. Raises InputError without the [train] extra or the model."""
        if self.name == "probe":
            return None
        lora = importlib.import_module("aarlab.w2s.students.lora")
        given: dict[str, Any] = {"epochs": self.epochs} if self.epochs else {}
        student: Any = lora.LoraStudent(lora.configuration(self.model, **given))
        student.network  # noqa: B018  opened now: a model that is not there ends the run before it begins
        found: Student = student
        return found


def choice(name: str, model: str = "", items: int = 0, epochs: float = 0.0) -> StudentChoice:
    """Raises UnknownName for another student, InputError for a number below 0 or a flag that means nothing to it."""
    if name not in NAMES:
        raise UnknownName(f"there is no student {name!r}; known students: {', '.join(NAMES)}")
    if items < 0 or epochs < 0:
        raise InputError(f"--items is {items} and --epochs is {epochs:g}; neither may be below 0")
    if name == "probe" and (model or epochs):
        raise InputError("--model and --epochs are for --student lora; the probe student reads the pack's features")
    return StudentChoice(name, model or ("smollm2-135m" if name == "lora" else ""), items, epochs)
