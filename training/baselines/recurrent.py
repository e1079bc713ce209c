"""ktrain's two recurrent models, with its sizes."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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
        self.gru = nn.GRU(dimensions, self.HIDDEN, batch_first=True, bidirectional=True)
        self.output = nn.Linear(4 * self.HIDDEN, labels)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (texts, labels) of `ids` (texts, words)."""
        lengths = (ids != PAD).sum(dim=1)
        embedded = self.dropout(self.embedding(ids).transpose(1, 2)).transpose(1, 2)
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        padding = (ids == PAD)[:, : outputs.shape[1], None]
        mean = outputs.sum(dim=1) / lengths[:, None]  # padding is 0 in `outputs`
        largest = outputs.masked_fill(padding, -torch.inf).amax(dim=1)
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
        lengths = (ids != PAD).sum(dim=1).cpu()
        embedded = self.dropout(self.embedding(ids))
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, state = self.gru(packed)
        logits: torch.Tensor = self.output(state[-1])
        return logits
