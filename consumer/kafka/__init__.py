"""Kafka behind a few verbs; the only room that imports kafka-python. Knows no model."""
