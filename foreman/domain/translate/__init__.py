"""Translation between Ollama's API and OpenAI's."""
