"""The clients of the everyday tools. They are in no consumer group, so they never take a partition from a worker."""
