"""What a text is and what the model reads of it: from any string to token ids."""
