"""Windows to logits: which share a batch, what to do if one fails, and how long it takes."""
