"""Names the outputs of a model. A wrong guess would exchange positive and negative, so nothing is guessed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from consumer.errors import UsageError
from training.adoption.config import outputs

#: What transformers calls an output that nobody named.
_UNNAMED = re.compile(r"LABEL_\d+", re.IGNORECASE)


def label_names(name: str, facts: Mapping[str, Any], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """The label of each output of the checkpoint `name`, in the order of its logits.

    Args:
        name: of the checkpoint.
        facts: its configuration.
        renamed: from the command line: the name or the number of an output, and what it is called from now on.

    Raises:
        UsageError: outputs have no names, contradicting ones or equal ones; or `renamed` names an output that is not
            there.
    """
    found = configured(facts)
    count = outputs(facts)
    keys = [{str(number), f"LABEL_{number}", found.get(number, str(number))} for number in range(count)]
    if unknown := sorted(set(renamed) - set().union(*keys)):
        known = found.values() if found else map(str, range(count))
        raise UsageError(f"{name} has no output {', '.join(unknown)}: --labels can rename {', '.join(known)}")
    chosen = [next((renamed[key] for key in sorted(own) if key in renamed), None) for own in keys]
    if None in chosen and (problem := _problem(facts, found, count)):
        raise UsageError(f"{problem}. {_advice(count)}")
    labels = tuple(new or found[number] for number, new in enumerate(chosen))
    _check(labels)
    return labels


def configured(facts: Mapping[str, Any]) -> dict[int, str]:
    """The names of the outputs by the number of the output, from `id2label`; empty if that is no mapping of numbers."""
    names = facts.get("id2label")
    try:
        return {int(number): str(label) for number, label in names.items()} if isinstance(names, dict) else {}
    except ValueError:
        return {}


def _problem(facts: Mapping[str, Any], found: Mapping[int, str], count: int) -> str:
    """Why the names in the configuration cannot be taken; empty if they can."""
    if not found:
        return "config.json does not name the outputs of the model (id2label)"
    if sorted(found) != list(range(count)):
        return f"config.json numbers the outputs {', '.join(map(str, sorted(found)))} (id2label), not from 0 on"
    if any(_UNNAMED.fullmatch(label) for label in found.values()):
        return f"config.json calls the outputs of the model {', '.join(found[number] for number in sorted(found))}"
    inverse = facts.get("label2id")
    if isinstance(inverse, dict) and inverse and _as_text(inverse) != {found[number]: str(number) for number in found}:
        return "config.json contradicts itself: id2label and label2id give the labels different numbers"
    return ""


def _as_text(inverse: Mapping[Any, Any]) -> dict[str, str]:
    return {str(label): str(number) for label, number in inverse.items()}


def _advice(count: int) -> str:
    names = ["negative", "positive"] if count == 2 else [f"NAME{number}" for number in range(count)]
    example = ",".join(f"{number}={name}" for number, name in enumerate(names))
    return (
        "Which output means what has to come from whoever trained it, since a guess could exchange the labels: pass "
        f"--labels {example}, if that is their order"
    )


def _check(labels: Sequence[str]) -> None:
    if any(not label.strip() or not label.isprintable() for label in labels):
        raise UsageError("a label is empty or holds control characters: rename the outputs, as in --labels 0=neg,1=pos")
    if len({label.casefold() for label in labels}) != len(labels):
        raise UsageError(
            f"the labels {', '.join(labels)} are not all different: rename the outputs, as in --labels 0=neg,1=pos"
        )
