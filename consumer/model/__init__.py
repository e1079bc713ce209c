"""Texts in, labels out: everything that training shares with the worker. Independent of Kafka."""
