"""Every setting of the worker, and where its value comes from."""

from consumer.settings.topics import DeadLetterHeaders, Delivery, OutputTimestamp
from consumer.settings.worker import Framing, WorkerSettings

__all__ = ["DeadLetterHeaders", "Delivery", "Framing", "OutputTimestamp", "WorkerSettings"]
