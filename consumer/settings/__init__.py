"""Every setting of the worker, and where its value comes from."""

from consumer.settings.topics import Delivery, OutputTimestamp
from consumer.settings.worker import Framing, WorkerSettings

__all__ = ["Delivery", "Framing", "OutputTimestamp", "WorkerSettings"]
