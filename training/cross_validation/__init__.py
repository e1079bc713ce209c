"""How good models made in one way are, measured on every row: each row by a model that has not seen it."""
