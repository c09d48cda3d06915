"""Between Ollama's own API and OpenAI's, both ways; no I/O."""

from foreman.targets.translate_answer import NativeStream as NativeStream
from foreman.targets.translate_answer import loaded as loaded
from foreman.targets.translate_answer import native_embed as native_embed
from foreman.targets.translate_request import Asked as Asked
from foreman.targets.translate_request import embed_as_embeddings as embed_as_embeddings
from foreman.targets.translate_request import embeddings_as_embed as embeddings_as_embed
from foreman.targets.translate_request import is_zero as is_zero
from foreman.targets.translate_request import only_loads as only_loads
from foreman.targets.translate_request import to_openai as to_openai
