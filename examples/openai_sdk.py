"""The official OpenAI SDK through Foreman: streamed as usual, and a durable job behind it.

python examples/openai_sdk.py [MODEL]
"""

from __future__ import annotations

import os
import sys

import openai


def main(model: str) -> None:
    client = openai.OpenAI(
        base_url=os.environ.get("FOREMAN_URL", "http://127.0.0.1:8080") + "/v1",
        api_key=os.environ.get("FOREMAN_TOKEN", "unused"),
    )
    response = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Name three colours."}], max_tokens=60, stream=True
    )
    for chunk in response.parse():
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print(f"\njob {response.headers['X-Foreman-Job-Id']}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "smollm2:135m")
