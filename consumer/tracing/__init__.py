"""OpenTelemetry, if the setting `tracing` is on: a span for each poll, and the trace of each record goes on."""
