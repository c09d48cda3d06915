"""Summarize every text file of a folder, as `low` jobs that make room for people.

    python examples/summarize_folder.py FOLDER [MODEL]

Each file's job has an idempotency key made of its text: run it again, and only new or changed files cost anything.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

from foreman import Client


def main(folder: Path, model: str) -> None:
    with Client() as client:
        jobs: dict[str, str] = {}
        for file in sorted(folder.glob("*.txt")):
            text = file.read_text(errors="replace")
            accepted = client.submit(
                model,
                f"Summarize in one sentence:\n\n{text}",
                priority="low",
                custom_id=file.name[:64],
                options={"num_predict": 60},
                idempotency_key=sha256(f"{model}\n{text}".encode()).hexdigest(),
            )
            jobs[file.name] = accepted.job_id
        for name, job_id in jobs.items():
            job = client.wait(job_id)
            print(f"{name}: {job.text if job.state == 'done' else job.error}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: summarize_folder.py FOLDER [MODEL]")
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "smollm2:135m")
