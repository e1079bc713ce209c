"""How good a model is, measured through the classifier of the worker."""
