"""Evaluations by inspect_ai in its batch mode, in one process; each prints a line of JSON."""

import json
import os
import tempfile

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import BatchConfig, GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

URL = os.environ["FOREMAN_URL"]


def evaluate(*inputs: str, responses_api: bool) -> None:
    samples = [Sample(input=f"{given} #echo", target=given) for given in inputs]
    model = get_model(
        "openai/a",
        base_url=f"{URL}/v1",
        api_key="unused",
        responses_api=responses_api,
        memoize=False,  # the batches of one that was used before may wait for a task that has ended
        config=GenerateConfig(batch=BatchConfig(size=3, max_size=3, tick=0.1, send_delay=600)),
    )
    task = Task(dataset=samples, solver=generate(), scorer=includes())
    [log] = eval(task, model=model, display="none", log_dir=tempfile.mkdtemp(), fail_on_error=False)
    said = {sample.input.removesuffix(" #echo"): sample.output.completion for sample in log.samples}
    failed = [sample.input.removesuffix(" #echo") for sample in log.samples if sample.error]
    accuracy = log.results.scores[0].metrics["accuracy"].value if log.results else None
    print(json.dumps({"status": log.status, "said": said, "failed": failed, "accuracy": accuracy}), flush=True)


for responses_api in (True, False):
    evaluate("red", "green", "blue", "cyan", "pink", "grey", responses_api=responses_api)
evaluate("good", "fine", "#status=400", responses_api=False)
evaluate("quick", "#silent", "#silent again", responses_api=False)
