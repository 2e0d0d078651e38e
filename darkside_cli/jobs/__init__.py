"""What darkside does: one module a job, each with its request, its function ``run`` and its result.

The command line, scenarios, the demonstration and people's own Python call the same functions.
"""
