"""Files that no loader likes, at full size: how each ends, how long it takes, and what each process grows to."""
