"""Every setting of the worker, and where its value comes from."""

from consumer.settings.worker import Delivery, WorkerSettings

__all__ = ["Delivery", "WorkerSettings"]
