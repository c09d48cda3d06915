"""The page in a real browser, one for all its files."""
