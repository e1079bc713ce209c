"""A Kafka worker that labels reviews with a fine-tuned DistilBERT, exactly once, in micro-batches."""
