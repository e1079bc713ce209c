"""fastText (Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification"): a mean of embeddings, a layer."""

import torch
from torch import nn

from training.baselines.words import PAD, Vocabulary

#: Numbers of an embedding, and buckets that all word pairs share by their hash.
DIMENSIONS = 50
BUCKETS = 1 << 17

#: Factor of the first word of a pair in its hash: large, odd, and its products fit 64 bits.
_FACTOR = 2_654_435_761


class FastText(nn.Module):
    """Embeddings of the words and hashed word pairs of a text, averaged, then one linear layer.

    Args:
        vocabulary: known words.
        labels: number of labels.
    """

    def __init__(self, vocabulary: Vocabulary, labels: int) -> None:
        super().__init__()
        self._words = len(vocabulary)
        self.embedding = nn.EmbeddingBag(len(vocabulary) + BUCKETS, DIMENSIONS, mode="mean", padding_idx=PAD)
        nn.init.uniform_(self.embedding.weight, -1 / DIMENSIONS, 1 / DIMENSIONS)
        self.output = nn.Linear(DIMENSIONS, labels)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (texts, labels) of `ids` (texts, words); padding counts for nothing."""
        first, second = ids[:, :-1], ids[:, 1:]
        pairs = self._words + (first * _FACTOR + second) % BUCKETS
        pairs = pairs.masked_fill(second == PAD, PAD)
        logits: torch.Tensor = self.output(self.embedding(torch.cat([ids, pairs], dim=1)))
        return logits
