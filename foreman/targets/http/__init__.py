"""The HTTP client for inference servers."""
