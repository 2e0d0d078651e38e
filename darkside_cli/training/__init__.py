"""The trainer: epochs and steps, checkpoints and going on, several processes. It knows no model and no method."""
