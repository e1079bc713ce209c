"""Reads the configuration of a checkpoint, and refuses what cannot be served before any weight is loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from training.adoption.families import FAMILIES, supported
from training.encoders.base import readable

#: What heads are for, by the end of the name of their class.
_TASKS = {
    "ForTokenClassification": "labels each token",
    "ForMaskedLM": "fills in masked words",
    "ForPreTraining": "was pretrained only",
    "ForQuestionAnswering": "answers questions about a text",
    "ForMultipleChoice": "chooses between texts",
    "ForCausalLM": "generates text",
    "ForConditionalGeneration": "generates text",
    "Model": "has no head: it turns texts into vectors",
}


def read_facts(name: str, directory: Path) -> dict[str, Any]:
    """The content of `config.json` of the checkpoint `name`, checked.

    Raises:
        UsageError: it cannot be parsed, or the model is no classifier of texts that the worker can serve.
    """
    facts = _parsed(directory / "config.json")
    _check_code(name, facts, directory)
    _check_family(name, facts)
    _check_head(name, facts)
    if "quantization_config" in facts:
        raise UsageError(f"{name} has quantised weights: name the checkpoint that they were made from")
    return facts


def load_config(directory: Path) -> Any:
    """The configuration as transformers reads it."""
    from transformers import AutoConfig

    with readable(directory):
        return AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__}): download the checkpoint again") from error
    if not isinstance(facts, dict):
        raise UsageError(f"{path} is no configuration: name a directory that save_pretrained wrote")
    return facts


def _check_code(name: str, facts: dict[str, Any], directory: Path) -> None:
    tokenizer = directory / "tokenizer_config.json"
    if "auto_map" in facts or (tokenizer.is_file() and "auto_map" in _parsed(tokenizer)):
        raise UsageError(
            f"{name} brings Python code of its own (auto_map), which is never run here: name a checkpoint whose "
            "architecture is part of transformers"
        )


def _check_family(name: str, facts: dict[str, Any]) -> None:
    family = facts.get("model_type")
    if family not in FAMILIES:
        raise UsageError(f"{name} is a {family or 'nameless'} model; {supported()} can be served")


def _check_head(name: str, facts: dict[str, Any]) -> None:
    classes = [str(each) for each in facts.get("architectures") or ()]
    if not classes:
        raise UsageError(
            f"config.json of {name} does not say what the model does (architectures): save it again with "
            "save_pretrained of its own class"
        )
    if not classes[0].endswith("ForSequenceClassification"):
        does = next((task for ending, task in _TASKS.items() if classes[0].endswith(ending)), "is no classifier")
        raise UsageError(
            f"{name} {does} ({classes[0]}): only a classifier of whole texts can be served; fine-tune one from it "
            "with review-training fit --base"
        )
    problem = facts.get("problem_type")
    if problem == "multi_label_classification":
        raise UsageError(
            f"{name} gives a text several labels at once (multi_label_classification); the worker gives each text one"
        )
    if problem == "regression" or outputs(facts) == 1:
        raise UsageError(f"{name} answers with a number, not with a label (regression), so it cannot be served")


def outputs(facts: Mapping[str, Any]) -> int:
    """How many outputs the head has as far as the configuration says; transformers takes two where it does not."""
    names = facts.get("id2label")
    return len(names) if isinstance(names, dict) and names else int(facts.get("num_labels") or 2)
