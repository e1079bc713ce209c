"""Who trains in `tests.bench.training`: our `fit` step, and the Hugging Face Trainer with two ways of padding.

All read the same token ids, encoded beforehand, from the same weights, with AdamW at the same rate and weight decay,
gradients clipped at the same norm, and in the same precision. What differs is what each does by itself: how it orders,
pads and cuts its batches, and the dropout inside attention, which `load_classifier` takes out.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import optim

from consumer.errors import UsageError
from tests.bench.training_task import Task, Trained, Watched
from training.encoders.base import load_classifier
from training.encoders.device import computes_in_bf16
from training.loop.batches import rows_of_step
from training.loop.step import MAX_GRADIENT_NORM, Stepper, make_optimizer

LEARNING_RATE = 5e-5

TRAINER = "Hugging Face Trainer"

Contestant = Callable[[Task], Trained]


def ours(model: Any) -> Contestant:
    """The step of `review-training fit`, on `model`."""

    def train(task: Task) -> Trained:
        reviews, trained = Watched(task.rows.reviews), task.fresh(model)
        optimizer = make_optimizer(trained, task.settings)
        stepper = Stepper(trained, optimizer, replace(task.rows, reviews=reviews), task.settings)
        started = _now(task.device)
        losses = [stepper.step(number, LEARNING_RATE) for number in range(task.steps)]
        return Trained(_now(task.device) - started, reviews.asked, _steps_of(optimizer), losses)

    return train


def hugging_face(model: Any, tokenizer: Any, **padding: Any) -> Contestant:
    """The Trainer on `model`, with a `DataCollatorWithPadding` that is given `padding`; everything else by default."""
    import transformers

    hf: Any = transformers  # partly typed

    def train(task: Task) -> Trained:
        items = [
            {"input_ids": review.windows[0].tolist(), "attention_mask": [1] * review.tokens, "label": label}
            for review, label in zip(task.rows.reviews, task.rows.labels, strict=True)
        ]
        size, seed = task.settings.batch_size, task.settings.seed
        order = list(range(len(items)))
        if task.checking:
            order = [row for step in range(task.steps) for row in rows_of_step(step, len(items), size, seed)]
        data = Watched([items[row] for row in order])
        times: list[float] = []

        class Stopwatch(hf.TrainerCallback):  # type: ignore[misc]
            """Notes when the loop begins and ends: making the Trainer and its optimiser is not measured."""

            def on_train_begin(self, *_: Any, **__: Any) -> None:
                times.append(_now(task.device))

            on_train_end = on_train_begin

        with tempfile.TemporaryDirectory() as directory:
            trainer = hf.Trainer(
                task.fresh(model),
                hf.TrainingArguments(
                    output_dir=directory,
                    per_device_train_batch_size=size,
                    num_train_epochs=1,
                    learning_rate=LEARNING_RATE,
                    lr_scheduler_type="constant",
                    weight_decay=task.settings.weight_decay,
                    max_grad_norm=MAX_GRADIENT_NORM,
                    bf16=computes_in_bf16(task.device, task.settings.precision),
                    train_sampling_strategy="sequential" if task.checking else "random",
                    logging_strategy="steps" if task.checking else "no",
                    logging_steps=1,
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    use_cpu=task.device.type == "cpu",
                    dataloader_pin_memory=task.device.type != "cpu",
                ),
                data_collator=hf.DataCollatorWithPadding(tokenizer, **padding),
                train_dataset=data,
                callbacks=[Stopwatch()],
            )
            trainer.remove_callback(hf.PrinterCallback)
            trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        rows = [order[index] for index in data.asked]
        return Trained(times[1] - times[0], rows, _steps_of(trainer.optimizer), losses)

    return train


def make_contestants(task: Task, fixed: int) -> dict[str, Contestant]:
    """By name; the last one pads every review to `fixed` tokens.

    Raises:
        UsageError: that is more than the model reads.
    """
    import transformers

    hf: Any = transformers
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_file=str(task.base.directory / "tokenizer.json"))
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(task.rows.pad_id)
    tuned = load_classifier(task.base, task.labels, task.settings.seed)
    if fixed > (longest := getattr(tuned.config, "max_position_embeddings", fixed)):
        raise UsageError(f"the base model reads at most {longest} tokens: lower --pad-to")
    plain = hf.AutoModelForSequenceClassification.from_pretrained(
        task.base.directory, num_labels=len(task.labels), dtype=torch.float32, use_safetensors=True
    )
    plain.load_state_dict(tuned.state_dict())  # each draws its own head
    return {
        "this project, fit": ours(tuned),
        TRAINER: hugging_face(plain, tokenizer),
        f"{TRAINER}, no dropout in attention": hugging_face(tuned, tokenizer),
        f"all padded to {fixed} (ktrain)": hugging_face(plain, tokenizer, padding="max_length", max_length=fixed),
    }


def _now(device: torch.device) -> float:
    """The time after all that was started on `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _steps_of(optimizer: optim.Optimizer) -> int:
    """How often AdamW has updated, as it counts itself: the least of all parameters."""
    return min(int(state["step"]) for state in optimizer.state.values())
