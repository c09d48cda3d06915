"""The jobs that one target's claim chooses from: those that it serves and no other target should have."""

from __future__ import annotations

from collections.abc import Iterable

from foreman.domain.errors import TargetRefused
from foreman.domain.job import Instant, Job, LoadKey, Priority
from foreman.domain.scheduling.choose import CLASSES, Head
from foreman.queue.occupancy import Occupancy
from foreman.queue.outlook import Outlook
from foreman.queue.sites import Site

AT_ONCE = 1.0  # seconds for which a job is left to another target's free slot, at least; it takes it at once
LOOK = 3  # lanes of each class besides those of the turns: the oldest goes next, or one that fits beside them


class Candidates:
    """What runs on each target, for the decisions of one target's claim."""

    def __init__(self, outlook: Outlook, site: Site, occupancy: Occupancy, now: Instant) -> None:
        self._outlook = outlook
        self._site = site
        self._occupancy = occupancy
        self._now = now
        self._state = outlook.state_of(site.name)
        self._alone = len(outlook.sites) == 1
        self._others = [] if self._alone else [one for one in outlook.sites.values() if one is not site and one.open]
        self.running = occupancy.classes(site.name)  # jobs of this target by class
        self.keys_at_work = occupancy.keys(site.name)  # load keys of its running jobs
        limits, owners = outlook.rules.most_running, occupancy.by_owner
        # The owners whose jobs wait:
        self.full = {one for one, most in limits.items() if owners[one] >= most} if limits else frozenset[str]()
        self.deferred = False  # True when a job was left for another target
        self.news = False  # True when other targets may now take a job that they had left to this one

    def heads(self) -> list[Head]:
        """Return the heads of the lanes to choose from.

        A load key that another target works on, or has loaded with a slot free, is left to that target. While there is
        nothing else to do, it is not when its backlog there would take longer than loading it here, or when its next
        job failed there.
        """
        site, state, board = self._site, self._state, self._outlook.board
        held: dict[LoadKey, list[Site]] = {}
        alone = self._alone
        served = () if alone else self._outlook.served(site)
        if not alone and not served:
            return []

        def may(key: LoadKey) -> bool:
            if not (alone or key in served) or state.rests(key) or self._is_full(key):
                return False
            if self._others and key not in state.keys and key not in self.keys_at_work and not site.is_loaded(key):
                if key not in held:
                    held[key] = [other for other in self._others if self._holds(other, key)]
                return not held[key]
            return True

        found = board.first(LOOK + len(state.keys), may, besides=state.keys, without=self.full)
        apart = {key: sites for key, sites in held.items() if sites}
        self.deferred = self.deferred or bool(apart)
        if found or not apart:
            return found
        outlook = self._outlook
        spread = {
            key for key, sites in apart.items() if outlook.backlog(key, sites) > outlook.load_seconds(site.name, key)
        }
        found = board.first(LOOK, apart.__contains__, without=self.full)
        return [head for head in found if head.key in spread or self._is_retry(head, apart[head.key])]

    def suits(self, job: Job) -> bool:
        """Return True unless another target should have this job: it alone may serve it, or this one failed with it."""
        if self._alone:
            return True
        key, endpoint = job.key, job.endpoint
        others = [other for other in self._outlook.sites.values() if other is not self._site]
        might = (not other.models_known or other.serves(key, endpoint) for other in others)
        if not self._site.serves(key, endpoint) and any(might):
            self._leave(job)
            return False
        if job.target != self._site.name:
            return True
        refused = job.error_code == TargetRefused.code  # it would be again
        better = any(
            other.serves(key, endpoint)
            and (self._could_take(other, key) or (refused and not self._outlook.state_of(other.name).rests(key)))
            for other in self._others
        )
        if better:
            self._leave(job)
        return not better

    def at_home(self, job: Job) -> Site | None:
        """Return another target that has more of the job's prompt in its cache and could take the job, or None.

        One whose slots are taken counts only while its latest prompts begin so, since caches forget; and never for an
        urgent job, since somebody waits for it.
        """
        key, path, prompts = job.key, job.prefix, self._state.prompts
        if not (path and self._others and self._outlook.rules.prefix_turns and prompts.helps(key)):
            return None
        before = job.target if job.error_code else None  # `suits` leaves it to others
        for other in self._others:
            its = self._outlook.state_of(other.name).prompts
            if key not in its.seen or other.name == before or not other.serves(key, job.endpoint):
                continue
            if its.has_more(key, path, prompts, self._site.slots) and (
                self._could_take(other, key)
                or (job.priority != Priority.HIGH and its.is_fresh(key, path, other.slots) and self._holds(other, key))
            ):
                return other
        return None

    def wait_for(self, job: Job, home: Site) -> float:
        """Return for how many more seconds at most the job is left to the target that `at_home` names.

        This target has nothing else to do. It would have to compute the beginning anew, which may cost less than
        waiting for a slot there. However long that wait turns out to be, a job never waits longer than that costs.
        """
        most = max(AT_ONCE, self._state.prompts.saving(job.key)) - max(0.0, self._now - job.since)
        if most > 0 and not self._could_take(home, job.key):
            running = [one for one, work in self._outlook.at_work.items() if work.target == home.name]
            rest = min((self._outlook.rest_of(one, self._now) for one in running), default=0.0)
            ahead = max(0, sum(self._outlook.board.size(job.key, priority) for priority in CLASSES) - 1)
            most = most if rest + ahead * self._outlook.usual(job.key) / home.slots < most else 0.0
        self.deferred = self.deferred or most > 0
        return max(0.0, most)

    def elsewhere(self, job: Job) -> bool:
        """Return True if another target takes such jobs now."""
        rests = ((other, self._outlook.state_of(other.name).rests(job.key)) for other in self._others)
        return any(not resting and other.serves(job.key, job.endpoint) for other, resting in rests)

    def _leave(self, job: Job) -> None:
        """Have another target take the job, also one that leaves the job's key to this one.

        It is not known by itself after a restart: only the job's last target is stored.
        """
        tried = self._outlook.tried
        self.deferred = True
        self.news = self.news or job.id not in tried  # once a job, or two targets could wake each other for ever
        tried[job.id] = self._site.name

    def _is_retry(self, head: Head, holders: Iterable[Site]) -> bool:
        """Return True if the targets that have the job's key failed with it or cannot take it."""
        tried = self._outlook.tried.get(head.id)
        return tried is not None and all(holder.name == tried for holder in holders)

    def _is_full(self, key: LoadKey) -> bool:
        most = self._site.slots_of(key)
        return most is not None and self.keys_at_work[key] >= most

    def _holds(self, other: Site, key: LoadKey) -> bool:
        if not other.serves(key):
            return False
        state = self._outlook.state_of(other.name)
        if state.rests(key):
            return False
        turn = state.standing.turn(key)
        if turn is not None and turn.ended(self._now, self._outlook.rules.limit):
            return False
        if turn is not None or key in self._occupancy.keys(other.name):
            return True
        return other.is_loaded(key) and self._could_take(other, key)

    def _could_take(self, other: Site, key: LoadKey) -> bool:
        """Return True if a job of the key could start there now."""
        work = self._occupancy.keys(other.name)
        return (
            other.serves(key)
            and not self._outlook.state_of(other.name).rests(key)
            and work.total() < other.slots
            and other.room().fits({*work, key})
        )
