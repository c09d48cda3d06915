"""Everything said to an inference server: three kinds of target, one protocol."""
