"""Receive signed webhooks in a program of one's own: submit a job, and print what is posted about it.

    WEBHOOK_SECRET=whsec_… python examples/webhook_receiver.py [MODEL]

Foreman must have the same `webhook_secret`; without the variable no signature is asked for.
"""

from __future__ import annotations

import os
import sys

from foreman import Client, Receiver
from foreman.client import Webhook


def show(webhook: Webhook) -> None:
    print(f"{webhook.previous_state or 'new'} → {webhook.state}", flush=True)


def main(model: str) -> None:
    secrets = [os.environ["WEBHOOK_SECRET"]] if "WEBHOOK_SECRET" in os.environ else []
    with Client() as client, Receiver(*secrets, on=show) as receiver:
        accepted = client.submit(model, "Say hello.", options={"num_predict": 60}, state_webhook_url=receiver.url)
        done = receiver.wait(accepted.job_id, within=300)
        print(done.text or done.error)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "smollm2:135m")
