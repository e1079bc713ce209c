"""`adopt`: a sequence classifier of transformers becomes a bundle, without training.

1. Find it: a directory, or a download from the hub. Pickles and code are never loaded.
2. Refuse what is no classifier of texts, or of a family that cannot be served, by its configuration.
3. Name the outputs, by its configuration or `--labels`. Nothing is guessed.
4. Deal the texts out: some set the int8 scales, some judge int8, others measure.
5. Load weights and tokenizer.
6. Write the bundle: compared with transformers, quantised, judged, measured, self-checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.model.bundle.manifest import Manifest
from consumer.model.texts.cleaning import AS_THEY_ARE
from consumer.model.texts.reading import Reading
from training.adoption.bundle import Adopted, Findings, write_bundle
from training.adoption.config import load_config, outputs, read_facts
from training.adoption.find import Checkpoint, find_checkpoint
from training.adoption.labels import configured, label_names
from training.adoption.origin import read_origin
from training.adoption.rows import read_rows
from training.adoption.tokenizer import as_json, load_tokenizer
from training.data.prepare import DEFAULTS, DataOptions
from training.encoders.base import longest_of, quiet_transformers
from training.io.progress import say
from training.packaging.sealing import check_name, check_outside, check_replaceable
from training.settings import AdoptSettings
from training.teachers.teacher import load_checkpoint

#: Tokens read of a text if the checkpoint can, and nobody says how many.
USUAL_LENGTH = 512


@dataclass(frozen=True)
class Adoption:
    """What is adopted, and with which files.

    Args:
        checkpoint: a directory, or a name on the Hugging Face hub.
        out: directory of the bundle; an older bundle there is replaced.
        revision: branch, tag or commit on the hub.
        texts: file of texts without labels.
        test: file of labelled texts.
        labels: names or numbers of outputs, and what they are called from now on.
        options: how the files are read.
    """

    checkpoint: str
    out: Path
    revision: str | None = None
    texts: Path | None = None
    test: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    options: DataOptions = DEFAULTS


def adopt(job: Adoption, settings: AdoptSettings) -> tuple[Manifest, Findings]:
    """Write the bundle, and return its manifest and what was measured.

    Raises:
        UsageError: the checkpoint cannot be served, its outputs have no sure names, or a file cannot be used.
        BundleError: the exported model answers differently than transformers.
        GaveUp: the bundle cannot be written, for example because the disk is full.
    """
    quiet_transformers()
    check_replaceable(job.out)
    check_name(settings.name, job.out)
    read = [("CHECKPOINT", Path(job.checkpoint)), ("--texts", job.texts), ("--test", job.test)]
    check_outside("--out", job.out, [(name, path) for name, path in read if path and path.exists()])
    found = find_checkpoint(job.checkpoint, job.revision)
    facts = read_facts(found.name, found.directory)
    labels = label_names(found.name, facts, job.labels)
    reading = _reading(found, settings)
    rows = read_rows(job.texts, job.test, labels, job.options, settings)
    return write_bundle(_loaded(found, facts, labels, reading, settings), rows, settings, job.out)


def _reading(found: Checkpoint, settings: AdoptSettings) -> Reading:
    """How much of a text is read, within what the checkpoint can.

    Raises:
        UsageError: it has fewer positions than asked for, or too few for any text.
    """
    longest = longest_of(load_config(found.directory))
    if settings.max_length and longest is not None and settings.max_length > longest:
        raise UsageError(f"{found.name} reads at most {longest} tokens: lower --max-length")
    length = settings.max_length or min(longest or USUAL_LENGTH, USUAL_LENGTH)
    if length < 8:
        raise UsageError(f"{found.name} reads only {length} tokens of a text, too few to serve it")
    return Reading(length, settings.truncation, settings.windows, AS_THEY_ARE)


def _loaded(
    found: Checkpoint, facts: Mapping[str, Any], labels: tuple[str, ...], reading: Reading, settings: AdoptSettings
) -> Adopted:
    """The checkpoint in memory; its configuration has the new names of the outputs."""
    say(f"loading {found.name} ({facts['model_type']}), labels {', '.join(labels)}")
    tokenizer = load_tokenizer(found.name, found.directory)
    model = load_checkpoint(found.directory).eval()
    if model.config.num_labels != len(labels):
        raise UsageError(
            f"{found.name} has {model.config.num_labels} outputs, and config.json names {len(labels)}: correct it"
        )
    embedded = model.get_input_embeddings().weight.shape[0]
    tokenizer_json = as_json(found.name, found.directory, tokenizer, embedded)
    names = configured(facts)
    before = tuple(names.get(number, f"LABEL_{number}") for number in range(outputs(facts)))
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: number for number, label in enumerate(labels)}
    origin = read_origin(found, facts, settings.license)
    return Adopted(model, tokenizer, tokenizer_json, before, labels, reading, origin)
