"""The only place that knows the formats and names of the reference implementations."""
