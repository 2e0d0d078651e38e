"""Small building blocks of networks."""
