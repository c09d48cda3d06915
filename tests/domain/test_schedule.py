"""The order of work."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreman.domain.scheduling.choose import Choice, Head, OrderRules, Spent, Standing, choose, spend, start
from foreman.domain.scheduling.credits import spend_alone
from foreman.domain.scheduling.positions import order
from foreman.domain.scheduling.turns import Turn

LIMIT = 100.0
NOW = 1_000.0
HIGH, NORMAL, LOW = 0, 1, 2
RULES = OrderRules(limit=LIMIT, share=0.1)
OWED = Standing(credits=(0.0, 1.0, 1.0))


def head(key: str, priority: int = NORMAL, *, waits: float = 0, id: str = "x") -> Head:
    return Head(key, priority, NOW - waits, id)


def chosen(
    *heads: Head, standing: Standing | None = None, running: Sequence[int] = (), rules: OrderRules = RULES
) -> Choice:
    choice = choose(heads, standing or Standing(), running=Counter(running), now=NOW, rules=rules)
    assert choice is not None
    return choice


def next_key(*heads: Head, turn: Turn | None = None) -> str:
    return chosen(*heads, standing=Standing((turn,) if turn else ())).head.key


def turn_of(key: str, *, seconds: float = 1) -> Turn:
    return Turn(key, NOW - seconds, priority=NORMAL)


def test_nothing_waits_so_nothing_is_chosen() -> None:
    assert choose([], Standing(), running={}, now=NOW, rules=RULES) is None


def test_a_higher_class_goes_first_however_long_the_lower_ones_have_waited() -> None:
    assert next_key(head("a", HIGH), head("b", NORMAL, waits=1e6), head("c", LOW, waits=1e9)) == "a"
    assert next_key(head("b", NORMAL), head("c", LOW, waits=1e9)) == "b"


def test_the_key_at_work_goes_on_while_older_jobs_of_its_class_wait() -> None:
    assert next_key(head("a"), head("b", waits=50), turn=turn_of("a")) == "a"


@pytest.mark.parametrize("at_work", [(), ("a",)])
@pytest.mark.parametrize("turn", [None, turn_of("a"), Turn("a", NOW - 2 * LIMIT, load=LIMIT, took=True)])
@pytest.mark.parametrize("priority", [HIGH, LOW])
def test_the_only_lane_runs_while_no_other_key_has_a_turn(
    priority: int, turn: Turn | None, at_work: Sequence[str]
) -> None:
    standing, only = Standing((turn,) if turn else (), OWED.credits, (LOW, LOW)), head("a", priority)
    assert choose([only], standing, running={LOW: 1}, now=NOW, rules=RULES, keys_at_work=at_work) == Choice(only, False)


def test_the_turn_of_a_key_ends_after_the_limit_when_another_of_its_class_waits() -> None:
    assert next_key(head("a", waits=50), head("b"), turn=turn_of("a", seconds=LIMIT)) == "b"


def test_a_turn_that_is_over_goes_on_when_nobody_of_its_class_waits() -> None:
    assert next_key(head("a"), head("b", LOW), turn=turn_of("a", seconds=10 * LIMIT)) == "a"


def test_without_a_turn_the_oldest_goes_first() -> None:
    assert next_key(head("a", waits=1), head("b", waits=2), head("c")) == "b"


def test_of_the_same_age_the_smaller_id_goes_first() -> None:
    assert next_key(head("a", id="2"), head("b", id="1")) == "b"


def test_a_high_job_ends_the_turn_of_a_lower_one() -> None:
    assert next_key(head("a", waits=50), head("b", HIGH), turn=turn_of("a")) == "b"


def test_a_lone_key_starts_within_the_limit_behind_an_endless_stream_of_another() -> None:
    standing, lone, now = Standing((Turn("a", 0.0),)), Head("b", NORMAL, 0.0, "1"), 0.0

    def goes() -> Head:
        choice = choose([Head("a", NORMAL, now - 0.5, "2"), lone], standing, running={}, now=now, rules=RULES)
        assert choice is not None
        return choice.head

    while goes() is not lone:
        now += 1
        assert now <= LIMIT
    assert now == LIMIT


@pytest.mark.parametrize(
    ("age", "waits", "load", "key"),
    [
        (LIMIT + 1, LIMIT + 1, 0, "c"),
        (LIMIT, LIMIT + 1, 0, "a"),  # its latest turn is not as old as a turn may become
        (LIMIT + 1, LIMIT, 0, "a"),  # nor has its oldest job waited for so long
        (LIMIT + 1, LIMIT + 1, LIMIT / 2 + 2, "a"),  # a turn may last longer
    ],
)
def test_a_class_is_due_when_turns_of_others_went_on_while_its_oldest_job_waited(
    age: float, waits: float, load: float, key: str
) -> None:
    turn = Turn("a", NOW - 1, priority=HIGH, load=load)
    standing = Standing((turn,), OWED.credits, began=(NOW - 1, NOW, NOW - age))
    heads = head("a", LOW, waits=1), head("b", LOW, waits=2), head("c", LOW, waits=waits)
    assert chosen(*heads, standing=standing).head.key == key
    assert chosen(head("a", HIGH), *heads, standing=standing).head.key == ("c" if key == "c" else "a")


def test_a_turn_that_another_class_began_does_not_put_a_job_last() -> None:
    heads = head("a", LOW, waits=2), head("b", LOW, waits=1)
    ended = [Turn("a", NOW - LIMIT, priority=priority) for priority in (HIGH, LOW)]
    assert [next_key(*heads, turn=turn) for turn in ended] == ["a", "b"]


@pytest.mark.parametrize("load", [0.0, LIMIT])
def test_a_lone_low_key_starts_behind_endless_jobs_of_two_others_in_each_class(load: float) -> None:
    standing, lone, now, started = Standing(), Head("c", LOW, 1.0, "1"), 1.0, 0
    while now < 100 * LIMIT:
        heads = [lone, *(Head(key, priority, now - 0.5, "2") for key in "ab" for priority in (HIGH, LOW))]
        choice = choose(heads, standing, running={}, now=now, rules=RULES)
        if choice is None:
            break
        if choice.head is lone:
            return
        seconds = 10.0 + (load if choice.head.key not in standing.keys else 0.0)
        standing, started = start(standing, choice, now, limit=LIMIT, load=load), started + 1
        now += seconds
        spent = Spent(choice.head.priority, seconds, choice.reserved)
        standing = spend(standing, spent, heads, running={}, now=now, rules=RULES)
    pytest.fail(f"it waits after {started} jobs")


@pytest.mark.parametrize(
    ("waits", "credits", "started", "running", "reserved"),
    [
        (LIMIT + 1, 0.1, (), (), True),
        (LIMIT, 0.1, (), (), False),  # has not waited longer than the limit
        (LIMIT + 1, 0.0, (), (), False),  # is owed nothing
        (LIMIT + 1, 0.1, (LOW, LOW), (), False),  # two in a row are the most a high job waits for
        (LIMIT + 1, 0.1, (NORMAL, LOW), (), False),
        (LIMIT + 1, 0.1, (HIGH, LOW), (), True),
        (LIMIT + 1, 0.1, (), (LOW,), False),  # has its share of the slots already
    ],
)
def test_a_class_goes_before_a_higher_one_when_it_starves_and_is_owed_and_has_no_slot(
    waits: float, credits: float, started: tuple[int, ...], running: Sequence[int], reserved: bool
) -> None:
    standing = Standing(credits=(0.0, 0.0, credits), started=started)
    found = chosen(head("a", HIGH), head("b", LOW, waits=waits), standing=standing, running=running)
    assert (found.head.key, found.reserved) == (("b", True) if reserved else ("a", False))


def test_with_many_slots_a_class_may_have_its_share_of_them() -> None:
    heads = head("a", HIGH), head("b", LOW, waits=LIMIT + 1)
    rules = OrderRules(limit=LIMIT, share=0.1, slots=20)
    assert [chosen(*heads, standing=OWED, running=[LOW] * n, rules=rules).head.key for n in range(4)] == list("bbaa")


def test_of_two_classes_that_are_owed_the_one_goes_first_that_is_owed_more() -> None:
    waiting = head("a", HIGH), head("c", LOW, waits=999), head("b", NORMAL, waits=LIMIT + 1)
    assert chosen(*waiting, standing=OWED).head.key == "b"
    assert chosen(*waiting, standing=Standing(credits=(0.0, 1.0, 2.0))).head.key == "c"


def test_without_a_share_the_classes_are_strict_for_ever() -> None:
    standing = Standing()
    heads = [head("a", HIGH), head("b", LOW, waits=1e9)]
    rules = OrderRules(limit=LIMIT, share=0)
    for _ in range(50):
        standing = spend(standing, Spent(HIGH, 1e6, False), heads, running={}, now=NOW, rules=rules)
        assert chosen(*heads, standing=standing, rules=rules).head.key == "a"


def test_of_what_a_class_got_in_its_own_right_the_latest_counts() -> None:
    heads = [head("b", LOW, waits=999)]
    some = spend(Standing(), Spent(LOW, 1, False), heads, running={}, now=NOW, rules=RULES)
    assert some.credits[LOW] == pytest.approx(RULES.share - 1)
    much = spend(Standing(), Spent(LOW, 5000, False), heads, running={}, now=NOW, rules=RULES)
    assert much.credits[LOW] == pytest.approx(-RULES.share * LIMIT / 10)
    debt = spend(Standing(credits=(0.0, 0.0, -999.0)), Spent(LOW, 5000, False), heads, running={}, now=NOW, rules=RULES)
    assert debt.credits[LOW] == -999


@given(
    st.sampled_from([HIGH, NORMAL, LOW]),
    st.floats(0, 1e4),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, -0.5, -1.0, -40.0]),
)
def test_a_class_that_nobody_competes_with_spends_only_its_own(
    priority: int, waits: float, waiting: bool, runs: bool, credit: float
) -> None:
    spent, heads = Spent(priority, 7.0, False), [head("a", priority, waits=waits)] if waiting else []
    running = {priority: 1} if runs else {}
    standing = Standing(credits=tuple(credit if one == priority else 0.0 for one in range(3)))
    alone = spend_alone(standing, spent, [one.priority for one in heads] + list(running), RULES)
    assert alone == spend(standing, spent, heads, running=running, now=NOW, rules=RULES)
    assert (alone is standing) == (priority == HIGH or credit <= -1)
    assert spend_alone(standing, spent, [priority, (priority + 1) % 3], RULES) is None
    assert spend_alone(OWED, spent, [priority], RULES) is None
    assert spend_alone(standing, Spent(priority, 7.0, True), [priority], RULES) is None


def test_a_credit_is_gone_with_the_wait_and_a_debt_is_not() -> None:
    nobody: list[Head] = []
    credit, debt = Standing(credits=(0.0, 5.0, 5.0)), Standing(credits=(0.0, -5.0, -5.0))
    spent = Spent(HIGH, 10, False)
    assert spend(credit, spent, nobody, running={}, now=NOW, rules=RULES).credits[1:] == (0, 0)
    assert spend(debt, spent, nobody, running={}, now=NOW, rules=RULES).credits[1:] == (-4, -4)


# A worker in miniature: slots that take what is chosen, and streams of jobs that never end.


@dataclass
class Shop:
    rules: OrderRules
    waiting: dict[int, list[Head]] = field(default_factory=lambda: {HIGH: [], NORMAL: [], LOW: []})
    endless: dict[int, Callable[[], float]] = field(
        default_factory=dict
    )  # classes that never run dry: seconds of a job
    seconds: Callable[[Head], float] = lambda head: 1.0
    now: float = NOW
    standing: Standing = field(default_factory=Standing)
    running: list[tuple[float, float, Head, bool]] = field(default_factory=list)  # end, start
    used: Counter[int] = field(default_factory=Counter)
    started: list[Head] = field(default_factory=list)

    def heads(self) -> list[Head]:
        lanes = {head.key: head for jobs in self.waiting.values() for head in reversed(jobs)}
        for priority in self.endless:
            lanes[f"endless {priority}"] = Head(f"endless {priority}", priority, self.now - 10 * LIMIT * priority, "")
        return list(lanes.values())

    def fill(self) -> None:
        while len(self.running) < self.rules.slots:
            at_work = Counter(head.priority for _, _, head, _ in self.running)
            choice = choose(self.heads(), self.standing, running=at_work, now=self.now, rules=self.rules)
            if choice is None:
                return
            head = choice.head
            self.standing = start(self.standing, choice, self.now, limit=self.rules.limit)
            if head in self.waiting[head.priority]:
                self.waiting[head.priority].remove(head)
                seconds = self.seconds(head)
            else:
                seconds = self.endless[head.priority]()
            self.started.append(head)
            self.running.append((self.now + seconds, self.now, head, choice.reserved))

    def step(self) -> None:
        """Have the next job end, and the slots filled."""
        self.fill()
        self.running.sort(key=lambda job: job[0])
        self.now, began, head, reserved = self.running.pop(0)
        self.used[head.priority] += self.now - began  # type: ignore[assignment]  # seconds
        at_work = Counter(head.priority for _, _, head, _ in self.running)
        spent = Spent(head.priority, self.now - began, reserved)
        self.standing = spend(self.standing, spent, self.heads(), running=at_work, now=self.now, rules=self.rules)
        self.fill()


def between(dice: random.Random, low: float, high: float) -> Callable[[], float]:
    return lambda: dice.uniform(low, high)


@pytest.mark.parametrize("slots", [1, 4, 10])
@pytest.mark.parametrize(
    ("high", "lower"), [((1, 1), (1, 1)), ((1, 10), (1, 10)), ((1, 3), (30, 100)), ((5, 10), (1, 2))], ids=str
)
@pytest.mark.parametrize("classes", [[LOW], [NORMAL, LOW]], ids=str)
def test_an_endless_stream_leaves_a_class_that_starves_its_share(
    slots: int, high: tuple[float, float], lower: tuple[float, float], classes: list[int]
) -> None:
    dice = random.Random(7)
    endless = {HIGH: between(dice, *high)} | {priority: between(dice, *lower) for priority in classes}
    shop = Shop(OrderRules(limit=LIMIT, share=0.1, slots=slots), endless=endless)
    while shop.now < NOW + 300 * max(lower) / slots + 1000 * max(high) / slots:
        shop.step()
    whole = sum(shop.used.values())
    assert [shop.used[priority] / whole for priority in classes] == pytest.approx([0.1] * len(classes), abs=0.03)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("priority", [NORMAL, LOW])
@pytest.mark.parametrize("seed", range(6))
def test_a_fresh_high_call_waits_for_two_jobs_of_an_old_backlog_at_most(slots: int, priority: int, seed: int) -> None:
    dice = random.Random(seed)
    shop = Shop(OrderRules(limit=LIMIT, share=0.1, slots=slots), seconds=lambda head: dice.choice([1, 5, 40]))
    shop.waiting[priority] = [Head("a", priority, NOW - 3 * LIMIT - 1, f"{n:03}") for n in range(60)]
    for number in range(40):
        for _ in range(dice.randrange(4)):
            shop.step()
        before = len(shop.started)
        call = Head("chat", HIGH, shop.now, f"{number}")
        shop.waiting[HIGH].append(call)
        while call not in shop.started:
            shop.step()
        assert shop.started.index(call) - before <= 2
        shop.waiting[priority] += [Head("a", priority, NOW - 3 * LIMIT, f"{number} {n}") for n in range(5)]


def test_lower_classes_begin_again_at_once_when_no_high_call_waits() -> None:
    shop = Shop(RULES)
    shop.waiting[LOW] = [Head("a", LOW, NOW - 3 * LIMIT, f"{n}") for n in range(20)]
    shop.waiting[HIGH] = [Head("chat", HIGH, NOW, "call")]
    for _ in range(20):
        shop.step()
    assert [head.priority for head in shop.started[:20]].count(LOW) == 19


# The order of all that waits follows the same rules.

Lanes = list[tuple[str, int, int, int]]

lanes = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 2), st.integers(0, 350), st.integers(1, 30)),
    min_size=1,
    max_size=7,
    unique_by=lambda lane: lane[:2],
)
credit = st.integers(-200, 50).map(lambda tenths: tenths / 10 + 0.03)  # never zero, about which floats would differ
states = st.builds(
    lambda turn, normal, low, started, began: Standing(
        (turn,) if turn else (), (0.0, normal, low), tuple(started), began=tuple(NOW - s for s in began)
    ),
    st.none()
    | st.builds(
        lambda key, s, priority: Turn(key, NOW - s, priority=priority),
        st.sampled_from("abcde"),
        st.integers(0, 150),
        st.integers(0, 2),
    ),
    credit,
    credit,
    st.lists(st.integers(0, 2), max_size=2),
    st.tuples(*[st.integers(0, 350)] * 3),
)


def played(given: list[tuple[Head, int]], standing: Standing, each: float) -> list[tuple[str, int]]:
    """The order in which one slot would take them if nothing arrived."""
    left = {(head.key, head.priority): (head, count) for head, count in given}
    taken, now = [], NOW
    while left:
        heads = [head for head, _ in left.values()]
        choice = choose(heads, standing, running={}, now=now, rules=RULES)
        assert choice is not None
        lane = choice.head.key, choice.head.priority
        standing = start(standing, choice, now, limit=RULES.limit)
        head, count = left.pop(lane)
        if count > 1:
            left[lane] = head, count - 1
        now += each
        heads = [head for head, _ in left.values()]
        spent = Spent(lane[1], each, choice.reserved)
        standing = spend(standing, spent, heads, running={}, now=now, rules=RULES)
        taken.append(lane)
    return taken


@settings(max_examples=300)
@given(lanes, states, st.sampled_from([1.0, 7.0, 64.0]))
def test_the_order_is_what_repeated_choice_would_take(lanes: Lanes, standing: Standing, each: float) -> None:
    given = [
        (head(key, priority, waits=waits, id=f"{n}"), count) for n, (key, priority, waits, count) in enumerate(lanes)
    ]
    runs = order(given, standing, now=NOW, rules=RULES, seconds=lambda key: each)
    assert [(run.key, run.priority) for run in runs for _ in range(run.count)] == played(given, standing, each)


@given(lanes)
def test_a_backlog_of_k_keys_in_one_class_costs_k_loads(lanes: Lanes) -> None:
    keys = {key: count for key, _, _, count in lanes}
    given = [(head(key, waits=waits, id=f"{n}"), keys[key]) for n, (key, _, waits, _) in enumerate(lanes) if keys[key]]
    given = list({lane[0].key: lane for lane in given}.values())
    runs = list(order(given, Standing(), now=NOW, rules=RULES, seconds=lambda key: 0.1))
    assert Counter(run.key for run in runs) == Counter(head.key for head, _ in given)


def test_the_order_of_a_long_queue_of_many_keys_takes_few_steps() -> None:
    given = [(head(f"{n}", n % 3, waits=n, id=f"{n}"), 100_000) for n in range(1000)]
    runs = order(given, Standing(), now=NOW, rules=RULES, seconds=lambda key: 10)
    steps, jobs = 0, 0
    while jobs < 1000:
        steps, jobs = steps + 1, jobs + next(runs).count
    assert steps < 400
