"""What the outside sees of a running worker: health, metrics, log lines, the watchdog."""
