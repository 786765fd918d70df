"""Files that mean harm, all at once, while somebody else goes on working; see `__main__`."""
