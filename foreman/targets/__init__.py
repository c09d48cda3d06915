"""Inference servers: three kinds of target behind one protocol."""
