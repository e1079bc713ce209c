"""The commands as Python functions, whose results a notebook displays."""
