"""`review-consumer demo`: a real Kafka, a sample of reviews and a worker on this machine, shown while they work."""

from consumer.demo.command import add_arguments, run

__all__ = ["add_arguments", "run"]
