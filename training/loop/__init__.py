"""From rows to weights: one training run."""
