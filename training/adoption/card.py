"""The model card of an adopted bundle: where the model comes from, what was measured, and what is not known of it."""

from consumer.model.bundle.manifest import Manifest
from training.adoption.origin import Origin
from training.adoption.record import AdoptionRecord
from training.measure.evaluate import Evaluation, as_text
from training.packaging.card import calibration_section, what_is_read
from training.packaging.header import UNKNOWN, yaml_header


def adoption_card(manifest: Manifest, record: AdoptionRecord, served: Evaluation | None) -> str:
    """The card in Markdown; `served` is what was measured of the served variant, None without labelled rows."""
    origin = record.origin
    outputs = "\n".join(
        f"| {number} | {old} | {new} |"
        for number, (old, new) in enumerate(zip(record.outputs, record.labels, strict=True))
    )
    header = yaml_header(
        manifest.name,
        served,
        file=record.sources[-1].file if record.sources else "",
        license_name=origin.license,
        license_link=origin.license_link,
        language=origin.language,
        base_model=(origin.name,) if origin.revision else origin.base_model,
    )
    return f"""{header}# {manifest.name}

Labels a text as {" or ".join(manifest.labels)}. Adopted from `{origin.name}` with `review-training adopt`, without \
training ({origin.family}, {manifest.parameters / 1e6:.1f} M parameters). It reads up to {manifest.max_length} tokens \
at once; {what_is_read(manifest, trained=False)}. Texts are read as they are.

## Origin and licence

{_origin(origin)}

| output | in its configuration | label |
|---|---|---|
{outputs}

The fp32 variant was compared with transformers on {record.compared.texts} texts when the bundle was made: logits \
differ by at most {record.compared.largest_difference:.1e}.

## Accuracy

{_accuracy(manifest, record, served)}
{calibration_section(manifest.calibration)}
## Limits

What the model was trained on is not known here: see its own card. It labels other kinds of text too, and may be
confident and wrong. Do not use it to judge the people who wrote the texts.
"""


def _origin(origin: Origin) -> str:
    where = f", commit `{origin.revision}` on the Hugging Face hub" if origin.revision else ""
    parts = [f"- checkpoint `{origin.name}`{where}", f"- SHA-256 of its configuration and weights `{origin.sha256}`"]
    if origin.base_model:
        parts.append(f"- fine-tuned from {', '.join(f'`{name}`' for name in origin.base_model)}, as its files say")
    if origin.license == UNKNOWN:
        parts.append("- licence: unknown; its files do not name one. Find out before you distribute the bundle.")
    else:
        parts.append(f"- licence: {origin.license} ({origin.license_from})")
    return "\n".join(parts)


def _accuracy(manifest: Manifest, record: AdoptionRecord, served: Evaluation | None) -> str:
    if served is None:
        return f"Not measured: no labelled texts were given.{_agreement(manifest, record)}\n"
    accuracies = {name: variant.accuracy for name, variant in manifest.variants.items()} | manifest.measured_only
    lines = "\n".join(
        f"| {name} | {each.accuracy:.2%} | {each.rows} | {'served' if name == manifest.served else 'to compare'} |"
        for name, each in accuracies.items()
        if each is not None
    )
    return f"""Measured through the worker's own classifier on `{record.sources[-1].file}`. The rows that chose the \
served variant and the temperature are not among those that measure it. Whether the model was trained on them is not \
known here.

| variant | accuracy | rows | |
|---|---|---|---|
{lines}

```
{as_text(served)}
```
"""


def _agreement(manifest: Manifest, record: AdoptionRecord) -> str:
    if not record.agreement:
        return f" {manifest.served} is served, and no int8 was made, which needs texts."
    shares = ", ".join(f"{name} {share:.2%}" for name, share in record.agreement.items())
    return (
        f" {manifest.served} is served. Share of {record.agreement_texts} texts of `{record.sources[0].file}` that get "
        f"the label of fp32: {shares}."
    )
