"""A conversation of background responses by the official OpenAI SDK: a stream that breaks, and is taken up again.

python examples/background_responses.py [MODEL]
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
    response_id, last, text = "", -1, ""
    with client.responses.create(model=model, input="Name three colours.", background=True, stream=True) as stream:
        for event in stream:
            last = event.sequence_number
            if event.type == "response.created":
                response_id = event.response.id
            elif event.type == "response.output_text.delta":
                text += event.delta
                break  # the connection is gone, and the response goes on
    print(f"left {response_id} after event {last}: {text}")

    with client.responses.stream(response_id=response_id, starting_after=last) as rest:
        for event in rest:
            if event.type == "response.output_text.delta":
                text += event.delta
    print(f"the whole answer: {text}")

    response = client.responses.create(
        model=model, input="Which of them is the warmest?", previous_response_id=response_id
    )
    print(f"and then: {response.output_text}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "smollm2:135m")
