"""The named errors of the program: each says what was found, why it cannot be used and what to do."""

from __future__ import annotations


class PETDiffusionError(Exception):
    """Base of every error raised on purpose.

    `what` names the value, `why` the reason, `remedy` the next step for the user.
    """

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        self.what, self.why, self.remedy = what, why, remedy
        super().__init__(what, why, remedy)

    def __str__(self) -> str:
        text = f"{self.what}: {self.why}" if self.why else self.what
        text = text if text.endswith((".", "!", "?")) else text + "."
        return f"{text} {self.remedy}".strip()

    def to_json(self) -> dict[str, str]:
        return {"type": type(self).__name__, "what": self.what, "why": self.why, "remedy": self.remedy}


class InputError(PETDiffusionError):
    """A file or image cannot be read, or is not what it was given as."""


class UnitError(PETDiffusionError):
    """The unit of an image is unknown, or cannot be turned into the one needed."""


class GeometryError(PETDiffusionError):
    """Size, spacing, direction or position of an image cannot be used."""


class OptionError(PETDiffusionError):
    """An option is unknown, has the wrong type or lies outside its range."""


class ConditionError(PETDiffusionError):
    """A method needs CT, MR, labels or text that was not given."""


class ModelError(PETDiffusionError):
    """A model is missing, damaged or does not belong to the method."""


class ResourceError(PETDiffusionError):
    """Memory, disk or device are not enough for the job."""


class OutputError(PETDiffusionError):
    """A result cannot be written where it was asked for."""


class DependencyError(PETDiffusionError):
    """An optional package or program is not installed."""


class PhysicsError(PETDiffusionError):
    """A simulation was asked for with impossible numbers."""


class TrainingError(PETDiffusionError):
    """A training run cannot start or go on."""


class Cancelled(PETDiffusionError):
    """The user stopped the run."""

    def __init__(
        self, what: str = "Stopped by the user", why: str = "", remedy: str = "No partial file was left."
    ) -> None:
        super().__init__(what, why, remedy)
