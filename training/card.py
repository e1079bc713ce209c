"""The model card of a bundle: what it is, how good it is, what it must not be used for."""

from consumer.bundle import Manifest
from training.evaluate import Evaluation, as_text
from training.schedule import describe
from training.settings import FitSettings

CARD = "MODEL_CARD.md"


def model_card(manifest: Manifest, served: Evaluation, settings: FitSettings) -> str:
    """Markdown for people; every figure in it was measured when the bundle was made."""
    accuracies = {name: variant.accuracy for name, variant in manifest.variants.items()} | manifest.measured_only
    lines = [
        f"| {name} | {accuracy.accuracy:.2%} | {accuracy.rows} | {'served' if name == manifest.served else ''} |"
        for name, accuracy in accuracies.items()
        if accuracy is not None
    ]
    data = [f"- `{part.file}`, {part.rows} rows used, SHA-256 `{part.sha256}`" for part in manifest.training_data]
    return f"""# {manifest.name}

Labels a review as {" or ".join(manifest.labels)}. Fine-tuned from `{manifest.base_model}` \
({manifest.parameters / 1e6:.1f} M parameters), up to {manifest.max_length} tokens a review; of a longer one \
{"the first and the last" if manifest.truncation == "head_tail" else "the first"} tokens are read.

## Accuracy

Measured through the worker's own classifier on `{manifest.training_data[-1].file}`, of which no text is in the
training rows.

| variant | accuracy | rows | |
|---|---|---|---|
{chr(10).join(lines)}

The served variant on all test rows:

```
{as_text(served)}
```

## Data and training

{chr(10).join(data)}

Training: {settings.epochs:g} epochs, batches of {settings.batch_size}, peak learning rate {settings.learning_rate:g} \
({describe(settings)}), weight decay {settings.weight_decay:g}, \
{settings.train_max_length} tokens a review, seed {settings.seed}.

## Limits

The probabilities are not calibrated. The model knows the language and the kind of text that it was trained on; on other
text it still answers, and still sounds sure. Do not use it to judge the people who wrote the reviews.
"""
