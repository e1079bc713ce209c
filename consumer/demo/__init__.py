"""`review-consumer demo`: a real Kafka, a worker and a sample of reviews on this machine, shown at work."""

from consumer.demo.command import add_arguments, run

__all__ = ["add_arguments", "run"]
