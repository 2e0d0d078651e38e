"""Day-to-night generators: training tasks and translation."""
