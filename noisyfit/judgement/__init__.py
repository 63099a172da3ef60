"""Which labels to change, and what is said of all of them: arrays only."""
