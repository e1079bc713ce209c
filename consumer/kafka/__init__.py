"""Kafka behind a few verbs; the only room that imports kafka-python. It does not know the model."""
