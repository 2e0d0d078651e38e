"""Figures: average precision and recall by protocol, edges kept, and how near translations are to nights."""
