"""The YAML header of a model card, which model hubs read: licence, language, task, base model, accuracy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.measure.evaluate import Evaluation

#: The licence of a model whose files do not name one, as model hubs write it.
UNKNOWN = "unknown"

README = "README.md"


def yaml_header(
    name: str,
    measured: Evaluation | None,
    *,
    file: str = "",
    license_name: str = UNKNOWN,
    license_link: str | None = None,
    language: Sequence[str] = (),
    base_model: Sequence[str] = (),
) -> str:
    """The header with the lines around it; `measured` is the served variant on `file`, None if nothing was measured."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "text-classification"
    results = [
        EvalResult(
            task_type=task,
            dataset_type="file",
            dataset_name=file,
            metric_type="accuracy",
            metric_value=round(each.accuracy, 4),
        )
        for each in (measured,)
        if each
    ]
    data = ModelCardData(
        model_name=name if results else None,
        eval_results=results or None,
        license=license_name,
        license_link=license_link,
        language=list(language) or None,
        pipeline_tag=task,
        base_model=list(base_model) or None,
        metrics=["accuracy"] if results else None,
        tags=["review-consumer", "openvino"],
    )
    return f"---\n{data.to_yaml()}\n---\n\n"


def license_of(directory: Path) -> str:
    """The licence that the model card in `directory` names, or `UNKNOWN`."""
    told = card_facts(directory / README)
    names = (told.get(key) for key in ("license_name", "license"))
    return next((name for name in names if isinstance(name, str) and name.strip()), UNKNOWN)


def card_facts(path: Path) -> dict[str, Any]:
    """The YAML header of a model card; empty if there is none, or none that can be read."""
    from huggingface_hub import ModelCard

    try:
        return dict(ModelCard.load(path, ignore_metadata_errors=True).data.to_dict()) if path.is_file() else {}
    except Exception:  # whatever YAML and the hub's library make of a file that somebody wrote by hand
        return {}
