"""ktrain's two recurrent models, with its sizes.

Texts are padded at their end, which a GRU that reads forwards does not see before it is done. torch's packed sequences
would spare reading the padding, but in their backward pass every word costs a copy of the whole batch: on a CPU
training took three times as long.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.baselines.words import PAD, Vocabulary


class BiGru(nn.Module):
    """Embeddings, a GRU in both directions, mean and maximum of its outputs, one linear layer.

    Args:
        vocabulary: known words.
        labels: number of labels.
        vectors: pretrained embeddings, shape (ids, dimensions), which are trained further; None: 300 random numbers.
    """

    DIMENSIONS, HIDDEN, DROPOUT = 300, 80, 0.2

    def __init__(self, vocabulary: Vocabulary, labels: int, vectors: npt.NDArray[np.float32] | None = None) -> None:
        super().__init__()
        dimensions = self.DIMENSIONS if vectors is None else vectors.shape[1]
        self.embedding = nn.Embedding(len(vocabulary), dimensions, padding_idx=PAD)
        if vectors is not None:
            with torch.no_grad():
                self.embedding.weight.copy_(torch.from_numpy(vectors))
        # A whole dimension of a text is dropped, not single numbers of it (Keras calls it SpatialDropout1D).
        self.dropout = nn.Dropout1d(self.DROPOUT)
        self.forwards, self.backwards = (nn.GRU(dimensions, self.HIDDEN, batch_first=True) for _ in range(2))
        self.output = nn.Linear(4 * self.HIDDEN, labels)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (texts, labels) of `ids` (texts, words)."""
        read = (ids != PAD)[:, :, None]
        embedded = self.dropout(self.embedding(ids).transpose(1, 2)).transpose(1, 2)
        outputs = torch.cat([self.forwards(embedded)[0], self.backwards(_reversed(embedded, read))[0]], dim=2)
        # Neither asks for the order of the words, so the second half may stay reversed.
        mean = (outputs * read).sum(dim=1) / read.sum(dim=1)
        largest = outputs.masked_fill(~read, -torch.inf).amax(dim=1)
        logits: torch.Tensor = self.output(torch.cat([mean, largest], dim=1))
        return logits


class StandardGru(nn.Module):
    """Random embeddings, two layers of GRU, one linear layer on the last state.

    ktrain drops 90 % of the inputs of both layers, which takes far more epochs than it trains; here it is half.

    Args:
        vocabulary: known words.
        labels: number of labels.
    """

    HIDDEN, DROPOUT = 256, 0.5

    def __init__(self, vocabulary: Vocabulary, labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary), self.HIDDEN, padding_idx=PAD)
        self.dropout = nn.Dropout(self.DROPOUT)
        self.gru = nn.GRU(self.HIDDEN, self.HIDDEN, num_layers=2, batch_first=True, dropout=self.DROPOUT)
        self.output = nn.Linear(self.HIDDEN, labels)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (texts, labels) of `ids` (texts, words)."""
        last = (ids != PAD).sum(dim=1) - 1
        outputs, _ = self.gru(self.dropout(self.embedding(ids)))
        logits: torch.Tensor = self.output(outputs[torch.arange(len(ids), device=ids.device), last])
        return logits


def _reversed(words: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """`words` (texts, words, values) from the last to the first of each text, its padding where it was."""
    places = torch.arange(words.shape[1], device=words.device)[None, :, None]
    order = torch.where(read, read.sum(dim=1, keepdim=True) - 1 - places, places)
    return words.gather(1, order.expand_as(words))
