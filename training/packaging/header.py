"""The YAML header of a model card, which model hubs read: licence, language, task, base model, accuracy."""

from collections.abc import Sequence

from consumer.model.manifest import Accuracy

#: The licence of a model whose files do not name one, as model hubs write it.
UNKNOWN = "unknown"


def yaml_header(
    name: str,
    accuracy: Accuracy | None,
    *,
    license_name: str = UNKNOWN,
    license_link: str | None = None,
    language: Sequence[str] = (),
    base_model: Sequence[str] = (),
) -> str:
    """The header with the lines around it; `accuracy` is that of the served variant, None if it was not measured."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "text-classification"
    results = accuracy and [
        EvalResult(
            task_type=task,
            dataset_type="file",
            dataset_name=accuracy.file,
            metric_type="accuracy",
            metric_value=round(accuracy.accuracy, 4),
        )
    ]
    data = ModelCardData(
        model_name=name if results else None,
        eval_results=results,
        license=license_name,
        license_link=license_link,
        language=list(language) or None,
        pipeline_tag=task,
        base_model=list(base_model) or None,
        metrics=["accuracy"] if results else None,
        tags=["review-consumer", "openvino"],
    )
    return f"---\n{data.to_yaml()}\n---\n\n"
