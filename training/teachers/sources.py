"""What a student is made from: its teachers, the encoder that it starts from, and texts without labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.bundle.manifest import TOKENIZER
from training.encoders.base import Base, find_base
from training.encoders.vocabulary import cut_alike
from training.settings import MAX_UNANSWERED, DistilSettings
from training.teachers.find import check_exists
from training.teachers.linear import NBSVM


@dataclass(frozen=True)
class Sources:
    """What a student is made from, besides its labelled rows.

    Args:
        teachers: bundles, checkpoint directories, or `nbsvm`, which is trained here. Their logits are averaged; hidden
            states and attention are those of the first directory.
        base_name: directory or hub name of the encoder that it starts from; default: the first teacher that is a
            directory.
        unlabeled_file: texts without labels to train on, see `training.data.texts.read_texts`.
        unlabeled_column: their column; default: a usual name.
        cache: directory where answers of teachers are kept, for any number of runs; default: beside the bundle, with
            `.teachers` added.
        answers: files of answers, or directories of them, of teachers that are not here; see `training.answer`.
        max_unanswered: share of the texts that may lack an answer in them.
        label_unanswered: learn the labels of the others, instead of leaving them out; then any share is allowed.
    """

    teachers: Sequence[Path] = ()
    base_name: str | None = None
    unlabeled_file: Path | None = None
    unlabeled_column: str | None = None
    cache: Path | None = None
    answers: Sequence[Path] = ()
    max_unanswered: float = MAX_UNANSWERED
    label_unanswered: bool = False

    @property
    def models(self) -> list[Path]:
        """The teachers that are directories."""
        return [path for path in self.teachers if str(path) != NBSVM]

    @property
    def nbsvm(self) -> bool:
        """Whether nbsvm is one of the teachers."""
        return len(self.models) < len(self.teachers)

    def check(self, settings: DistilSettings) -> None:
        """Raise `UsageError` if there is nothing to learn from, or if `settings` need more than the teachers have."""
        if not self.teachers and not self.answers:
            raise UsageError(
                "a student needs a teacher: give --teacher a model, or --answers what review-training answer wrote"
            )
        if self.label_unanswered and not settings.label_weight:
            raise UsageError("--label-unanswered learns labels, whose --label-weight is 0: raise it, or leave one out")
        what = NBSVM if self.nbsvm else "a file of answers"
        for weight, option, name in (
            (settings.hidden_weight, "--hidden-weight", "hidden states"),
            (settings.attention_weight, "--attention-weight", "attention"),
        ):
            if weight and not self.models:
                raise UsageError(f"{what} has no {name}: add another --teacher, or leave out {option}")

    def cache_of(self, out: Path) -> Path:
        """Where answers are kept: not with the checkpoints, since who discards a run may want to keep them."""
        return self.cache or out.with_name(f"{out.name}.teachers")


def student_base(sources: Sources) -> Base:
    """The encoder that the student starts from: the one that is named, or the first teacher that is a directory.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    if sources.base_name:
        return find_base(sources.base_name)
    models = sources.models
    if not models:
        what = NBSVM if sources.nbsvm else "a file of answers"
        raise UsageError(f"{what} has no layers that a student could start from: choose an encoder with --base")
    check_exists(models[0])  # otherwise its name would be looked up on the hub
    try:
        return find_base(str(models[0]))
    except UsageError:
        raise UsageError(
            f"the teacher {models[0]} has no torch weights that a student could start from: choose an encoder with "
            "--base, or make the bundle with --keep torch"
        ) from None


def check_tokenizers(teacher: Path, base: Base) -> None:
    """Raise `UsageError` if `teacher` splits texts into other tokens than `base`."""
    if not cut_alike((teacher / TOKENIZER).read_text(encoding="utf-8"), base.tokenizer_json):
        raise UsageError(
            f"the teacher {teacher} has another tokenizer than {base.name}, so their attention cannot be compared: "
            "leave out --attention-weight, or --base"
        )
