"""Compatible APIs: Ollama's, OpenAI's and Anthropic's."""
