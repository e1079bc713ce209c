"""`review-consumer label`: the labels of texts, without Kafka. The first thing one tries."""

from consumer.tools.label.command import add_arguments, run

__all__ = ["add_arguments", "run"]
