"""What is drawn on stderr while a job runs: bars of items and transfers, the view of a training."""
