"""How the small torch models learn and answer; what they are is in `bag` and `recurrent`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.baselines.settings import BaselineSettings
from training.baselines.words import Vocabulary, WordIds, padded
from training.encoders.device import best_device
from training.io.output import storing, write_text
from training.loop.batches import rows_of_like_length, total_steps

MAX_GRADIENT_NORM = 1.0

#: Texts of one forward pass when answering.
ANSWER_BATCH = 64


class Network:
    """A torch module that reads ids of words, with all around it.

    Args:
        build: makes the module for a vocabulary and a number of labels; called after the generator is seeded.
        labels: number of labels.
        settings: see `BaselineSettings`.
        seed: of the weights, the order of the reviews and the dropout.
    """

    def __init__(
        self, build: Callable[[Vocabulary, int], nn.Module], labels: int, settings: BaselineSettings, seed: int
    ) -> None:
        self._build, self._labels, self._settings, self._seed = build, labels, settings, seed
        self._vocabulary = Vocabulary(())
        self._module: nn.Module = nn.Identity()

    def fit(self, texts: Sequence[str], targets: Sequence[int], on_read: Callable[[int], None]) -> None:
        """Learn with Adam, its rate falling linearly to 0; `on_read` receives how many reviews were seen, epochs added.

        Trains on a GPU where there is one; the module ends on the CPU, where it is measured.
        """
        settings, device = self._settings, best_device()
        self._vocabulary = Vocabulary.of(texts)
        rows = self._vocabulary.encode(texts)
        torch.manual_seed(self._seed)
        module = self._build(self._vocabulary, self._labels).to(device).train()
        optimizer = torch.optim.Adam(module.parameters(), lr=settings.small_learning_rate)
        batch_size = settings.small_batch_size
        steps = total_steps(len(rows), settings.small_epochs, batch_size)
        lengths = [len(row) for row in rows]
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.small_learning_rate * (1 - step / steps)
            batch = rows_of_like_length(step, steps, lengths, batch_size, self._seed)
            logits = module(_tensor([rows[row] for row in batch]).to(device))
            loss = nn.functional.cross_entropy(logits, torch.tensor([targets[row] for row in batch], device=device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            on_read((step + 1) * batch_size)
        self._module = module.cpu().eval()

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Shape (texts, labels)."""
        rows = self._vocabulary.encode(texts)
        # Texts of like length share a batch, as in the worker's classifier.
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        answers = np.zeros((len(rows), self._labels))
        with torch.inference_mode():
            for start in range(0, len(order), ANSWER_BATCH):
                batch = order[start : start + ANSWER_BATCH]
                logits = self._module(_tensor([rows[row] for row in batch]))
                answers[batch] = logits.double().softmax(dim=-1).numpy()
        return answers

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self._module.parameters())

    def save(self, directory: Path) -> None:
        """Write what answering needs."""
        from safetensors.torch import save_file

        words = json.dumps(self._vocabulary.words, ensure_ascii=False)
        write_text(directory / "words.json", words)
        path = directory / "weights.safetensors"
        with storing(path):
            save_file(self._module.state_dict(), path)


def _tensor(rows: Sequence[WordIds]) -> torch.Tensor:
    return torch.from_numpy(padded(rows))
