"""The state that claims are decided by: the settings, the lanes, the targets, and what these serve."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from operator import is_not
from types import MappingProxyType

from foreman.domain.job import Job, LoadKey
from foreman.domain.nodes import Node, NodeState
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.breaker import Breaker
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.domain.usage import Tokens
from foreman.queue.board import Board
from foreman.queue.durations import Durations
from foreman.queue.sites import Site

NO_STATE = SchedulerState()
NO_SITES: Mapping[str, Site] = MappingProxyType({})


class Serving(Durations):
    """The state that claims are decided by.

    The queue's thread and the workers write, any thread reads. Each attribute is replaced as a whole, never mutated.
    """

    def __init__(self, rules: choose.OrderRules | None = None, sites: Mapping[str, Site] = NO_SITES) -> None:
        """Start with these targets of this node, by name, in order."""
        super().__init__()
        self.rules = rules or choose.OrderRules()
        self.board = Board()
        self.own_sites = sites
        self.sites_elsewhere: Mapping[str, Site] = {}  # of other nodes
        self.nodes_elsewhere: Mapping[str, Node] = {}  # by name, also those that have gone
        self.leaving: Collection[str] = ()  # names of targets that are no site any more, while their jobs end
        self.states: Mapping[str, SchedulerState] = {}  # by target, as the last command left them
        self.tried: dict[str, str] = {}  # by waiting job, a target that should not have it; for the queue's thread
        self.paused = False  # no job may be claimed
        self._served: tuple[tuple[int, list[object]], dict[str, set[LoadKey]]] = (-1, []), {}

    @property
    def slots_elsewhere(self) -> int:
        """Return the number of slots of all targets of other nodes, as far as these are not gone."""
        here = [node for node in self.nodes_elsewhere.values() if node.state is not NodeState.GONE]
        return sum(report.slots for node in here for report in node.targets)

    @property
    def sites(self) -> Mapping[str, Site]:
        """Return the targets of all nodes by name, this node's in order before the others."""
        return {**self.own_sites, **self.sites_elsewhere} if self.sites_elsewhere else self.own_sites

    def state_of(self, target: str = "") -> SchedulerState:
        """Return the state of the scheduler for a target."""
        return self.states.get(target, NO_STATE)

    def rules_of(self, slots: int) -> choose.OrderRules:
        """Return the settings for the order of the jobs of so many slots."""
        return self.rules if slots == self.rules.slots else replace(self.rules, slots=slots)

    def failing(self) -> list[tuple[str, str, Breaker]]:
        """Return the open breakers, each with its target and model."""
        return [(name, model, one) for name in self.sites for model, one in self.state_of(name).failing().items()]

    def rests(self, key: LoadKey) -> bool:
        """Return True when no target that serves the key takes jobs of it now."""
        return all(self.state_of(site.name).rests(key) for site in self.serving(key))

    def serving(self, key: LoadKey) -> list[Site]:
        """Return the targets for jobs of a key: those that take jobs, else those that are away, else all."""
        serving = [site for site in self.sites.values() if site.serves(key)]
        return [site for site in serving if site.open] or serving or list(self.sites.values())

    def served(self, site: Site) -> Collection[LoadKey]:
        """Return the waiting keys that a target may claim: its own, and those that no target has any more.

        While a target has not said what it serves, the latter wait for its word.

        For the queue's thread. It is kept until the keys or the models change, since every claim asks for it.
        """
        sites = list(self.sites.values())
        all_known = all(one.models_known for one in sites)  # before the look at what they serve
        version = self.board.key_changes, [all_known, *(one.version for one in sites)]
        kept, by_site = self._served
        if kept[0] != version[0] or len(kept[1]) != len(version[1]) or any(map(is_not, kept[1], version[1])):
            by_site = {}
            self._served = version, by_site
        if site.name not in by_site:
            by_site[site.name] = {
                key
                for key in self.board.keys_waiting()
                if site.serves(key) or (all_known and not any(other.serves(key) for other in sites))
            }
        return by_site[site.name]

    def backlog(self, key: LoadKey, sites: Sequence[Site]) -> float:
        """Return about how many seconds these targets take for the waiting jobs of the key, and those at work."""
        names = {site.name for site in sites}
        jobs = sum(self.board.size(key, priority) for priority in choose.CLASSES)
        rest = sum(self.usual(job.key) for job in self.at_work.values() if job.target in names)
        return (jobs * self.usual(key) + rest) / max(1, sum(site.slots for site in sites))

    def was_cached(self, job: Job, tokens: Tokens) -> bool:
        """Return True if most of a running job's prompt was in its target's cache, as that says or as is guessed."""
        if tokens.counts_cached:
            return 2 * tokens.cached > tokens.prompt
        running = self.state_of(job.target or "").prompts.running.get(job.id)
        return running is not None and running.follows
