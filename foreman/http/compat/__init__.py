"""Compatible APIs: the dialects of Ollama, OpenAI and Anthropic."""
