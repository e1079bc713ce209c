"""Every setting of the worker, and where its value comes from."""

from consumer.settings.topics import Delivery
from consumer.settings.worker import Framing, OutputTimestamp, WorkerSettings

__all__ = ["Delivery", "Framing", "OutputTimestamp", "WorkerSettings"]
