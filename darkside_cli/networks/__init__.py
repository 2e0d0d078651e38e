"""The networks and their layers, their configurations, their weights as files, and what models there are."""
