"""Metrics as pure functions, and the scores made of them.

``retrieval`` and ``identification`` hold the functions and their components, ``statistics`` the
intervals, ``scoring`` puts both together.
"""
