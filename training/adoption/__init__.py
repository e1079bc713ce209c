"""From a classifier of transformers that others trained to a bundle: find, refuse, label, compare, package."""
