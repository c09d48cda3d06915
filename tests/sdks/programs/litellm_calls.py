"""What litellm offers for its provider `openai`; prints one JSON object."""

import json
import os
import time
from typing import Any

import litellm

URL = f"{os.environ['FOREMAN_URL']}/v1"
TO = {"custom_llm_provider": "openai", "api_base": URL, "api_key": "unused"}
AT = {"api_base": URL, "api_key": "unused", "num_retries": 0}
HELLO = [{"role": "user", "content": "hello #echo"}]


def line(custom_id: str, text: str) -> dict[str, Any]:
    body = {"model": "a", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def batch(*lines: dict[str, Any]) -> Any:
    data = "".join(json.dumps(one) + "\n" for one in lines).encode()
    file = litellm.create_file(file=("lines.jsonl", data), purpose="batch", **TO)
    assert litellm.file_retrieve(file.id, **TO).bytes == len(data)
    assert file.id in {one.id for one in litellm.file_list(purpose="batch", **TO)}
    return litellm.create_batch(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id, metadata={"of": "me"}, **TO
    )


def ended(made: Any) -> Any:
    while (found := litellm.retrieve_batch(made.id, **TO)).status not in ("completed", "failed", "cancelled"):
        time.sleep(0.05)
    return found


def content(file_id: str) -> list[str]:
    return [json.loads(one)["custom_id"] for one in litellm.file_content(file_id, **TO).text.splitlines()]


said: dict[str, Any] = {}

done = ended(batch(line("one", "hello"), line("bad", "#status=400")))
said["batch"] = [done.status, done.metadata, content(done.output_file_id), content(done.error_file_id)]
stopped = batch(line("slow", "#silent"))
assert litellm.cancel_batch(stopped.id, **TO).status == "cancelling"
said["cancelled"] = [ended(stopped).status, [one.id for one in litellm.list_batches(**TO)] == [stopped.id, done.id]]
said["deleted"] = litellm.file_delete(done.input_file_id, **TO).deleted

said["chat"] = litellm.completion("openai/a", HELLO, **AT).choices[0].message.content
chunks = litellm.completion("openai/a", HELLO, stream=True, **AT)
said["streamed"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
first = litellm.responses(model="openai/a", input="hello #echo", **AT)
then = litellm.responses(model="openai/a", input="again #echo", previous_response_id=first.id, **AT)
said["responses"] = [first.output[0].content[0].text, then.output[0].content[0].text]
events = litellm.responses(model="openai/a", input="hello #echo", stream=True, **AT)
said["events"] = "".join(event.delta for event in events if event.type == "response.output_text.delta")
kept = litellm.responses(model="openai/a", input="hello #echo", background=True, **AT)
while (later := litellm.get_responses(kept.id, **TO)).status in ("queued", "in_progress"):
    time.sleep(0.05)
said["background"] = [later.status, later.output[0].content[0].text]
said["embedding"] = litellm.embedding("openai/a", ["hello"], **AT).data[0]["embedding"]

print(json.dumps(said))
