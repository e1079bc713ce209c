"""What others do with the same model: Hugging Face's pipeline, and a fixed padding as ktrain has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.model.bundle import Bundle
from consumer.model.manifest import TOKENIZER

#: ktrain pads every text to its `maxlen`, 400 in its examples.
KTRAIN_MAXLEN = 400
MAX_LENGTH = 512

Run = Callable[[Sequence[str]], object]


@dataclass(frozen=True)
class Peers:
    """The peers by name, and the model that they compute."""

    runs: dict[str, Run]
    model: Any


def load_peers(bundle: Bundle, checkpoint: Path | None) -> Peers:
    """The model in torch, fp32, on all cores.

    Without a checkpoint it has random weights in the size of DistilBERT: its labels are wrong, its speed is right.
    """
    import torch
    import transformers

    hf: Any = transformers  # partly typed
    hf.utils.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_file=str(bundle.path / TOKENIZER), pad_token="[PAD]", model_max_length=MAX_LENGTH
    )
    if checkpoint:
        model = hf.AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    else:
        model = hf.DistilBertForSequenceClassification(hf.DistilBertConfig(vocab_size=len(tokenizer)))
    model.eval()
    classify = hf.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")

    def padded(texts: Sequence[str]) -> None:
        for start in range(0, len(texts), 32):
            batch = tokenizer(
                list(texts[start : start + 32]),
                padding="max_length",
                truncation=True,
                max_length=KTRAIN_MAXLEN,
                return_tensors="pt",
            )
            with torch.inference_mode():
                model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1)

    return Peers(
        {
            "transformers pipeline, batch_size=1": lambda texts: classify(list(texts), batch_size=1, truncation=True),
            "transformers pipeline, batch_size=32": lambda texts: classify(list(texts), batch_size=32, truncation=True),
            f"torch fp32, all padded to {KTRAIN_MAXLEN} (ktrain)": padded,
        },
        model,
    )
