"""What a cascade consists of; `consumer.model.cascade.bundle` loads and verifies one.

    manifest.json     name, labels, members by path and digest, thresholds, what was measured, SHA-256 of the files
    golden.json       texts with the probabilities that each member must give
    profile.json      what answers were like on texts of the model's kind; may be missing

The models are in their own bundles, beside the cascade or inside it.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from consumer.model.bundle.manifest import GOLDEN, NAME, Calibration, FileSum, Part, RelativePath, Source


def _near(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts[1:] or pure.name in ("", ".."):
        raise ValueError("must be a relative path to a directory inside the cascade or beside it")
    return path


#: Of a member, relative to the cascade: at most one step up, so that whoever copies the directory of both takes all
#: along, and no manifest makes a worker look anywhere else.
MemberPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,200}$"), AfterValidator(_near)]

Share = Annotated[float, Field(ge=0, le=1)]


class PassedOn(Part):
    """Share of the texts computed that a member passed on: on all test rows, and the range over parts of them.

    `low` and `high` are the ends of the range that is to be expected of texts like the test rows.
    """

    share: Share
    low: Share
    high: Share


class Member(Part):
    """A bundle whose model answers texts; the last member answers all that it gets, the others pass some on.

    `name` is that of its manifest, and `digest` the SHA-256 of that. `calibration` takes the place of the member's own:
    all members are calibrated on the same rows, so that a probability means the same whoever answers. A text is passed
    on if its score is less than `below`.
    """

    name: str = Field(pattern=NAME)
    path: MemberPath
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    variant: str = Field(pattern=NAME)
    calibration: Calibration
    below: float | None = Field(default=None, gt=0, le=1)
    passed_on: PassedOn | None = None


class Point(Part):
    """What the cascade would be with other thresholds, measured on the test rows.

    `below` and `passed_on` have one value for each member but the last; a share is one of all rows. `lost` is how many
    points of accuracy are lost against the last member alone; negative if some are gained.
    """

    below: tuple[Share, ...]
    passed_on: tuple[Share, ...]
    accuracy: Share
    lost: float


class Measured(Part):
    """Accuracy on the `rows` of `file` that chose nothing, and points lost against the last member alone.

    `lost_interval` is the 95 % interval of `lost`, of paired answers.
    """

    file: str
    rows: int = Field(ge=1)
    accuracy: Share
    lost: float
    lost_interval: tuple[float, float]


class CascadeManifest(Part):
    """manifest.json. The order of `members` is the order in which they are asked, and `labels` are those of them all.

    `training_data` lists the files that chose the thresholds, and the test file last. `curve` is what other thresholds
    would give.
    """

    format: Literal[3] = 3
    name: str = Field(pattern=NAME)
    version: str = Field(pattern=r"^[a-zA-Z0-9.+_-]{1,64}$")
    created: AwareDatetime
    labels: tuple[str, ...] = Field(min_length=2)
    members: tuple[Member, ...] = Field(min_length=2, max_length=16)
    measured: Measured | None = None
    curve: tuple[Point, ...] = ()
    training_data: tuple[Source, ...] = ()
    files: dict[RelativePath, FileSum]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        if len({member.name for member in self.members}) != len(self.members):
            raise ValueError("names of members repeat")
        if any(member.below is None for member in self.members[:-1]):
            raise ValueError("a member that is not the last one has no threshold below which it passes texts on")
        if self.members[-1].below is not None:
            raise ValueError("the last member has nobody to pass texts on to")
        if len({member.calibration.threshold for member in self.members}) != 1:
            raise ValueError("members differ in what is unsure")
        if GOLDEN not in self.files:
            raise ValueError(f"no checksum for {GOLDEN}")
        return self

    @property
    def threshold(self) -> float | None:
        """Score below which a prediction is unsure, whoever made it; None: nothing is."""
        return self.members[0].calibration.threshold

    @property
    def variant(self) -> str:
        """The precision variant of all members, or of each."""
        variants = [member.variant for member in self.members]
        return variants[0] if len(set(variants)) == 1 else "+".join(variants)
