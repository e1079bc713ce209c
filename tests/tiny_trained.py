"""A bundle of the tiny encoder after it learned its clear words: what `fit` makes, without quantising, in seconds."""

from datetime import UTC, datetime
from pathlib import Path

from consumer.model.bundle.manifest import Golden, GoldenText, Variant
from tests.tiny_bundle import seal
from tests.tiny_encoder import make_base, write_reviews

LABELS = ("neg", "pos")
TORCH = {"torch": Variant(engine="torch", compute="fp32", files=("config.json", "model.safetensors"))}


def write_trained_bundle(directory: Path) -> Path:
    """Train on 192 generated reviews with fixed seeds and write the bundle to `directory`, which is returned."""
    import torch
    from torch import nn

    from consumer.model.texts.encoder import Encoder
    from consumer.model.texts.reading import Reading, Truncation
    from training.data.reviews import read_reviews
    from training.encoders.base import find_base, load_classifier, quiet_transformers
    from training.packaging.export import export_tokenizer, export_torch

    quiet_transformers()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # suits a model this small
    base = find_base(str(make_base(directory.with_name("base"))))
    reviews = read_reviews(write_reviews(directory.with_name("words.xlsx"), 192, seed=1))
    encoder = Encoder(base.tokenizer_json, Reading(48, Truncation.HEAD_TAIL))
    rows = [torch.from_numpy(encoded.windows[0].astype("int64")) for encoded in encoder.encode(reviews.texts)]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=encoder.pad_id)
    mask = (ids != encoder.pad_id).long()
    targets = torch.tensor([LABELS.index(label) for label in reviews.labels])
    model = load_classifier(base, LABELS, seed=3).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(60):
        batch = torch.arange(step * 32, step * 32 + 32) % len(rows)
        logits = model(input_ids=ids[batch], attention_mask=mask[batch]).logits
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, targets[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
    torch.set_num_threads(threads)
    directory.mkdir(parents=True)
    export_tokenizer(base.tokenizer_json, directory)
    export_torch(model, directory)
    golden = reviews.texts[0]
    encoded = torch.from_numpy(encoder.encode([golden])[0].windows[0].astype("int64"))[None]
    with torch.no_grad():
        answer = dict(zip(LABELS, model(input_ids=encoded).logits[0].double().softmax(dim=0).tolist(), strict=True))
    told = Golden(tolerance={"torch": 0.01}, texts=(GoldenText(text=golden, probabilities={"torch": answer}),))
    (directory / "golden.json").write_text(told.model_dump_json(), encoding="utf-8")
    return seal(
        directory,
        labels=LABELS,
        served="torch",
        variants=TORCH,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        max_length=48,
    )
