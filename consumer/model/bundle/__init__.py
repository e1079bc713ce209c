"""A model on disk: what it consists of, and how it is loaded so that verified bytes are served."""
