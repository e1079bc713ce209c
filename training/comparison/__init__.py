"""Any models on the same rows, measured alike."""
