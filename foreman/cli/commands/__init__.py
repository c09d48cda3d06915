"""The commands, one file for each or for a family of them."""
