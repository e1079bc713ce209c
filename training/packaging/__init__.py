"""From weights to a bundle."""
