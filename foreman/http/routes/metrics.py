"""/metrics: the counters since the start, and gauges of the current state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from quart import Blueprint, Response, request

from foreman import logs
from foreman.domain.batches import Batch
from foreman.domain.job import Job, model_of
from foreman.domain.nodes import Node, NodeState, remembered
from foreman.http.context import Context, context
from foreman.offload import offload
from foreman.store.records import Line

metrics = Blueprint("metrics", __name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_BATCHES = 1000  # that are counted
SERIES = 4096  # bytes of the series of one model, about


@metrics.get("/metrics")
async def scrape() -> Response:
    """Answer in Prometheus' text format."""
    ctx = context()
    ctx.auth.check_admin(request)

    running, nodes, batches = await ctx.readers.read(
        lambda store: (store.running(), store.nodes(), store.open_batches(MOST_BATCHES))
    )
    board = ctx.outlook.board
    lines = board.all_lines()
    now = CollectorRegistry()
    now.register(_Now(ctx, lines, running, board.oldest(), remembered(nodes, ctx.clock()), batches))

    def text() -> bytes:
        return generate_latest(ctx.metrics.registry) + generate_latest(now)

    size = SERIES * (ctx.metrics.models + len(lines))
    return Response(await offload(size, text), content_type=CONTENT_TYPE)


class _Now:
    """The gauges, built for each scrape."""

    def __init__(
        self,
        ctx: Context,
        lines: list[Line],
        running: list[Job],
        oldest: float | None,
        nodes: list[Node],
        batches: list[Batch],
    ) -> None:
        self._ctx = ctx
        self._lines = lines
        self._running = running
        self._oldest = oldest
        self._nodes = nodes
        self._batches = batches

    def collect(self) -> Iterator[Metric]:
        ctx = self._ctx
        waiting = GaugeMetricFamily("foreman_jobs_waiting", "Jobs waiting", labels=["model", "priority"])
        depths: Counter[tuple[str, str]] = Counter()
        for line in self._lines:  # a model has one for each caller and each set of options that reload it
            depths[model_of(line.key), line.priority.word] += line.ready + line.parked
        for labels, depth in depths.items():
            waiting.add_metric(labels, depth)
        yield waiting
        running = GaugeMetricFamily("foreman_jobs_running", "Jobs running", labels=["model", "state", "target"])
        at_work = Counter((model_of(job.key), job.state, job.target or "") for job in self._running)
        for where, count in at_work.items():
            running.add_metric(where, count)
        yield running
        age = 0.0 if self._oldest is None else max(0.0, ctx.clock() - self._oldest)
        yield GaugeMetricFamily("foreman_oldest_wait_seconds", "Seconds that the oldest waiting job has waited", age)
        yield from self._of_batches()
        yield from self._targets()
        failing = GaugeMetricFamily(
            "foreman_model_failing",
            "1 for a model whose jobs a target gets no more because its calls fail",
            labels=["model", "target"],
        )
        for target, model, _ in ctx.outlook.failing():
            failing.add_metric([model, target], 1)
        yield failing
        yield GaugeMetricFamily("foreman_feed_readers", "Subscribers of the feed", len(ctx.feed.subscriptions))
        yield GaugeMetricFamily(
            "foreman_loop_held_seconds", "Longest time that the event loop was blocked", ctx.watchdog.longest
        )
        yield CounterMetricFamily(
            "foreman_log_lines_dropped",
            "Log lines dropped because they could not be written, including managed servers",
            logs.dropped(),
        )
        memory = GaugeMetricFamily(
            "foreman_memory_bytes", "Bytes of request bodies and answers in memory", labels=["kind"]
        )
        memory.add_metric(["used"], ctx.budget.used)
        memory.add_metric(["limit"], ctx.budget.limit)
        yield memory
        yield from self._of_nodes()
        if (size := ctx.log_size()) is not None:
            yield GaugeMetricFamily("foreman_wal_bytes", "Size of the database's log", size)

    def _of_batches(self) -> Iterator[Metric]:
        open_now = GaugeMetricFamily("foreman_batches_open", "Batches that have not ended", labels=["state"])
        for state, count in Counter(batch.state for batch in self._batches).items():
            open_now.add_metric([state], count)
        yield open_now
        left = sum((batch.total or 0) - batch.counts.ended for batch in self._batches)
        yield GaugeMetricFamily("foreman_batch_lines_left", "Lines of open batches that have not ended", left)

    def _of_nodes(self) -> Iterator[Metric]:
        """Yield how the Foremen are that share the queue; nothing where one has it for itself."""
        if not self._nodes:
            return
        up = GaugeMetricFamily("foreman_node_up", "1 while the node is neither gone nor evicted", labels=["node"])
        silent = GaugeMetricFamily("foreman_node_silent_seconds", "Seconds since the node last wrote", labels=["node"])
        for node in self._nodes:
            up.add_metric([node.name], float(node.state is not NodeState.GONE))
            silent.add_metric([node.name], max(0.0, self._ctx.clock() - node.seen_at))
        yield up
        yield silent

    def _targets(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("foreman_target_up", "1 while the target answers", labels=["target"])
        draining = GaugeMetricFamily("foreman_target_draining", "1 while the target is drained", labels=["target"])
        slots = GaugeMetricFamily("foreman_target_slots", "Jobs that the target runs together", labels=["target"])
        done = CounterMetricFamily("foreman_target_jobs_done", "Jobs that the target has done", labels=["target"])
        attempts = CounterMetricFamily(
            "foreman_target_attempts", "Attempts at the target that ended, by outcome", labels=["target", "outcome"]
        )
        loaded = GaugeMetricFamily("foreman_target_loaded", "Models that the target has loaded", labels=["target"])
        for member in self._ctx.fleet.members:
            name = [member.name]
            up.add_metric(name, float(member.inventory.up))
            draining.add_metric(name, float(member.drained))
            slots.add_metric(name, member.slots)
            done.add_metric(name, member.worker.tally.jobs_done)
            for outcome, count in list(member.worker.tally.outcomes.items()):  # others may be added meanwhile
                attempts.add_metric([member.name, outcome], count)
            loaded.add_metric(name, len(set(map(model_of, member.in_memory()))))
        yield from (up, draining, slots, done, attempts, loaded)
