"""Accuracy over cost: how fast, how right, and the picture of both."""
