"""Responses of OpenAI's API as jobs: their ids, what requests ask of Foreman, conversations, and what is shown."""
