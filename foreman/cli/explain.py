"""Each setting in one line, for `foreman serve --help`; config/foreman.toml says more."""

from __future__ import annotations

EXPLAINED = {
    "addr": "Where to listen, HOST:PORT; :PORT listens everywhere and needs a token.",
    "data_dir": "The folder of the database and of the logs of managed models.  [default: the platform's for foreman]",
    "ollama_url": "Front this Ollama server.",
    "ollama_token": "What opens it.",
    "openai_url": "Front this OpenAI-compatible server (vLLM, llama-server, LM Studio, SGLang, …).",
    "openai_token": "What opens it.",
    "token": "What callers must send; several are separated by commas. Better FOREMAN_TOKEN or FOREMAN_TOKEN_FILE.",
    "insecure": "Allow a public address without a token.",
    "allowed_hosts": "Host names served besides those of the loopback and of addr, separated by commas.",
    "slots": "Jobs of one model that run together.",
    "max_queue": "Queued jobs beyond which new ones are refused.",
    "max_body": "The largest request body, such as 64 MiB.",
    "max_answer": "The largest answer of a target, such as 64 MiB.",
    "max_attempts": "How often a job is tried that does not say so itself, 1 to 20.",
    "retry_backoff": "The pause before the second attempt, such as 2 s; it doubles with each.",
    "retry_backoff_max": "The longest pause between attempts.",
    "attempt_timeout": "The longest one attempt may take, such as 1 h.",
    "first_chunk_timeout": "The longest wait for the first words of an answer.",
    "stall_timeout": "The longest silence within an answer.",
    "starvation_limit": "A job that waited this long climbs one priority.",
    "keep_alive": "How long Ollama keeps a model loaded when the request does not say; -1 is for ever.",
    "poll_interval": "How often the target is asked for its models.",
    "job_ttl": "How long a finished job is kept, such as 7 d; 0 keeps it for ever.",
    "artifact_inline_limit": "The largest artifact that is shown with its job, such as 256 KiB.",
    "shutdown_grace": "How long running jobs may go on after SIGTERM.",
    "log_format": "console or json.  [default: console on a terminal, else json]",
    "log_level": "debug, info, warning or error.",
}
