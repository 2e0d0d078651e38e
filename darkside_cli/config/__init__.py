"""Configuration: typed schemas, presets and the layers that override one another."""
