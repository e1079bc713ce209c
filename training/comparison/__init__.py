"""Several models, trained and measured on the same rows."""
