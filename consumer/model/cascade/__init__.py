"""Several models as one: each answers what it is sure of, and passes the rest on to the next, which costs more."""
