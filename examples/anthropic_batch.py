"""A batch of messages by the official Anthropic SDK: many prompts at once, their answers when all are done.

python examples/anthropic_batch.py [MODEL]
"""

from __future__ import annotations

import os
import sys
import time

import anthropic

PROMPTS = {"colours": "Name three colours.", "rivers": "Name three rivers.", "cities": "Name three cities."}


def main(model: str) -> None:
    client = anthropic.Anthropic(
        base_url=os.environ.get("FOREMAN_URL", "http://127.0.0.1:8080"),
        api_key=os.environ.get("FOREMAN_TOKEN", "unused"),
    )
    batch = client.messages.batches.create(
        requests=[
            {
                "custom_id": name,
                "params": {
                    "model": model,
                    "max_tokens": 200,
                    "messages": [{"role": "user", "content": prompt}],
                },
            }
            for name, prompt in PROMPTS.items()
        ]
    )
    print(f"made {batch.id} of {batch.request_counts.processing} requests")

    while batch.processing_status != "ended":
        time.sleep(0.2)
        batch = client.messages.batches.retrieve(batch.id)

    for line in client.messages.batches.results(batch.id):
        if line.result.type == "succeeded":
            print(
                f"{line.custom_id}: {''.join(part.text for part in line.result.message.content if part.type == 'text')}"
            )
        elif line.result.type == "errored":
            print(f"{line.custom_id} failed: {line.result.error.error.message}")
        else:
            print(f"{line.custom_id}: {line.result.type}")

    client.messages.batches.delete(batch.id)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "smollm2:135m")
