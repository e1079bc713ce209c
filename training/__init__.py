"""Turns a spreadsheet of labelled reviews into the model bundle that the worker serves."""
