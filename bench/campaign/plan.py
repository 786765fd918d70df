"""One seed's plan: the files it uploads and the faults it meets, from the seed alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from bench.campaign.board import Fault
from bench.campaign.files import Recipe, Shape

Event = Literal["once", "twice", "lost"]
Fate = Literal["", "cancel", "replace", "kill", "garble"]
Whole = Literal["", "abort", "budget"]
Verdict = Literal["", "confirm", "cancel"]
NULLS, DATES, KILOS = "null_words", "dates_day_first", "numbers_unit_kg"
WHOLE: dict[Whole, dict[str, object]] = {"": {}, "abort": {"on_error": "abort"}, "budget": {"max_errors": 10_000}}
DEEDS: dict[Fate, str] = {"cancel": "cancel", "replace": "object replaced"}
POISONS: tuple[Fate, ...] = ("kill", "garble")
STAYS_HIDDEN = "message in hand stays hidden"
SLOW_SECONDS = 4.5  # longer than the queues' visibility, so that the chunk is delivered again meanwhile


@dataclass(frozen=True, slots=True)
class Upload:
    """A file into its shape's dataset. Wave 0 is loaded before the faults begin, wave 1 in the middle of them.

    `event` is what becomes of S3's notification. Fates: while chunks run, somebody cancels it or replaces the
    object; or its first chunk is poisoned (kills whoever reads it, or comes garbled) until it has been given up
    and is redriven. `undone`: when it is over it is reverted, under fire. `whole`: all rows at once or none, for any
    reject or within a budget that no file passes. `fixes`: causes whose rejects are read again, a retry each, all at
    once and in the middle of the faults. `drift`: it is compared with those before; `verdict` is what somebody says
    when it is held.
    """

    recipe: Recipe
    mode: str
    wave: int
    event: Event = "once"
    fate: Fate = ""
    undone: bool = False
    whole: Whole = ""
    fixes: tuple[tuple[str, ...], ...] = ()
    drift: str = ""
    verdict: Verdict = ""

    @property
    def options(self) -> dict[str, object]:
        """As they are announced."""
        drift: dict[str, object] = {"on_drift": self.drift} if self.drift else {}
        # Said, as with so many day-first dates it would be taken for their order.
        spelt: dict[str, object] = {"dialect": {"date_order": "ymd"}} if self.recipe.shape == "sales" else {}
        return {"mode": self.mode, **WHOLE[self.whole], **drift, **spelt}


@dataclass(frozen=True, slots=True)
class Plan:
    """A seed's files and faults.

    `undo` are the faults that strike while an upload is reverted. `skew` is how many hours each function's clock is
    off. `hides`: messages of killed workers do not come back.
    """

    seed: int
    uploads: tuple[Upload, ...]
    faults: tuple[Fault, ...]
    skew: tuple[tuple[str, int], ...] = ()
    hides: bool = False
    undo: tuple[Fault, ...] = ()

    @property
    def kinds(self) -> list[str]:
        """Every kind of fault in the plan, those that no proxy carries out too."""
        events = [f"S3 event {each.event}" for each in self.uploads if each.event != "once"]
        fates = [each.fate for each in self.uploads]
        fated = [DEEDS[fate] for fate in fates if fate in DEEDS]
        poisons = [kind for fate in fates if fate in POISONS for kind in (f"poison: {fate}", "redrive")]
        standing = [STAYS_HIDDEN] * self.hides + ["clock skew"] * bool(self.skew)
        looks = ["fix" for each in self.uploads for _ in each.fixes]
        looks += [f"held, then {each.verdict}" for each in self.uploads if each.verdict]
        undone = [kind for kind in ["revert", *(fault.kind for fault in self.undo)] if self.undo]
        return [fault.kind for fault in self.faults] + events + fated + poisons + standing + undone + looks


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: where it may strike (the n-th moment, n drawn from `first` to `last`) and how."""

    name: str
    moment: str
    last: int
    action: str
    first: int = 1
    times: int = 1
    seconds: float = 0.0

    def drawn(self, random: Random) -> Fault:
        nth = random.randint(self.first, self.last)
        return Fault(self.name, self.moment, nth, self.action, self.times, self.seconds)


KILLS = (
    Kind("kill load at a statement", "load:statement", 150, "kill"),
    Kind("kill split at a statement", "split:statement", 20, "kill"),
    Kind("kill load before COPY", "load:copy", 20, "kill"),
    Kind("kill load mid-COPY", "load:copied", 20, "kill"),
    Kind("kill load before COMMIT", "load:land", 15, "kill"),
    Kind("kill load after COMMIT", "load:land", 15, "kill after"),
    Kind("kill load before status", "load:UpdateItem", 3, "kill"),
    Kind("kill load after status", "load:UpdateItem", 3, "kill after"),
    Kind("kill before the end is drawn", "any:end", 1, "kill"),
    Kind("kill after the end is drawn", "any:ended", 2, "kill after"),
    Kind("kill before the end is shown", "any:ShowEnd", 1, "kill"),
    Kind("kill after the end is shown", "any:ShowEnd", 2, "kill after"),
    Kind("kill split before send", "split:SendMessageBatch", 4, "kill"),
    Kind("kill split after send", "split:SendMessageBatch", 4, "kill after"),
    Kind("redeploy split in mid-file", "split:SendMessageBatch", 3, "redeploy"),
    Kind("redeploy split in mid-file", "split:SendMessageBatch", 3, "redeploy"),
    Kind("kill split at commit", "split:commit", 6, "kill"),
    Kind("kill split after commit", "split:commit", 6, "kill after"),
    Kind("kill split after pin", "split:UpdateItem", 2, "kill after"),
    Kind("kill settle before COMMIT", "settle:commit", 2, "kill"),
    Kind("kill settle after COMMIT", "settle:commit", 2, "kill after"),
    Kind("kill sweep", "sweep:statement", 5, "kill", first=2),
)
CUTS = (
    Kind("cut before COPY", "load:copy", 20, "cut"),
    Kind("cut mid-COPY", "load:copydata", 20, "cut within"),
    Kind("cut before COMMIT", "load:land", 15, "cut"),
    Kind("ambiguous COMMIT (load)", "load:land", 15, "cut after"),
    Kind("ambiguous COMMIT (load)", "load:land", 15, "cut after"),
    Kind("ambiguous COMMIT (other)", "load:commit", 30, "cut after"),
    Kind("ambiguous COMMIT (split)", "split:commit", 6, "cut after"),
    Kind("ambiguous COMMIT (settle)", "settle:commit", 2, "cut after"),
    Kind("ambiguous COMMIT (end)", "any:ended", 2, "cut after"),
    Kind("cut before the end is drawn", "any:end", 2, "cut"),
    Kind("ambiguous statement", "load:statement", 150, "cut after"),
    Kind("ambiguous statement (split)", "split:statement", 30, "cut after"),
    Kind("cut a statement", "load:statement", 150, "cut"),
    Kind("cut a statement (split)", "split:statement", 30, "cut"),
    Kind("cut a statement (settle)", "settle:statement", 12, "cut"),
    Kind("cut a statement (sweep)", "sweep:statement", 6, "cut"),
    Kind("cut idle", "load:land", 15, "cut idle", seconds=0.05),
    Kind("terminate mid-COPY", "load:copied", 20, "terminate"),
    Kind("refuse connections", "load:connect", 1, "cut", times=3),
)
SERVICES = (
    Kind("throttle DynamoDB", "load:UpdateItem", 2, "throttle", times=3),
    Kind("DynamoDB down", "load:UpdateItem", 2, "throttle", times=12),
    # boto3 tries four times by itself; thrice that, and some, is a failure of the call whoever else calls meanwhile.
    Kind("DynamoDB down at the end", "any:ShowEnd", 1, "throttle", times=14),
    Kind("lost answer at the end", "any:ShowEnd", 2, "lose answer"),
    Kind("lost answer of DynamoDB (API)", "api:TransactWriteItems", 2, "lose answer"),
    Kind("throttle DynamoDB (split)", "split:UpdateItem", 2, "throttle", times=5),
    Kind("lost answer of DynamoDB", "load:UpdateItem", 4, "lose answer"),
    Kind("lost answer of DynamoDB (pin)", "split:UpdateItem", 2, "lose answer"),
    Kind("throttle SQS", "split:SendMessageBatch", 4, "throttle", times=2),
    Kind("SQS down", "split:SendMessageBatch", 3, "throttle", times=6),
    Kind("lost answer of SQS", "split:SendMessageBatch", 4, "lose answer"),
    Kind("3 of 10 entries fail", "split:SendMessageBatch", 4, "turn down"),
    Kind("messages lost", "split:SendMessageBatch", 4, "lose message"),
    Kind("messages sent twice", "split:SendMessageBatch", 4, "twice"),
    Kind("settle or delayed message lost", "load:SendMessage", 2, "lose message"),
    Kind("S3 SlowDown", "load:GetObject", 20, "throttle", times=2),
    Kind("S3 SlowDown (split)", "split:GetObject", 3, "throttle", times=2),
    Kind("S3 body cut", "load:GetObject", 20, "cut within"),
    Kind("S3 body cut (split)", "split:GetObject", 3, "cut within"),
    Kind("lost answer of S3", "load:GetObject", 20, "lose answer"),
)
SERVER = (
    Kind("Postgres restart fast", "load:copy", 20, "restart fast", first=3),
    Kind("Postgres restart immediate", "load:copy", 20, "restart immediate", first=3),
    Kind("connections exhausted", "load:copy", 20, "exhaust", first=3),
)
MESSAGES = (
    Kind("chunk messages repeated", "load:land", 15, "repeat chunks", first=4),
    Kind("S3 events repeated", "load:land", 10, "repeat events"),
    Kind("messages of nobody", "load:land", 10, "send nonsense"),
    Kind("pause and resume", "load:land", 12, "pause", first=2),
    Kind("slow chunk", "load:copied", 15, "delay", seconds=SLOW_SECONDS),
    Kind("slow split", "split:SendMessageBatch", 3, "delay", seconds=SLOW_SECONDS),
)
RECEIPTS = (
    Kind("kill receipt at a statement", "receipt:statement", 12, "kill"),
    Kind("ambiguous COMMIT (receipt)", "receipt:commit", 2, "cut after"),
    Kind("cut a statement (receipt)", "receipt:statement", 12, "cut"),
    Kind("S3 body cut (receipt)", "receipt:GetObject", 2, "cut within"),
    Kind("message of a receipt lost", "notify:SendMessage", 2, "lose message"),
)
RERUN = (
    Kind("kill rerun before COMMIT", "split:take", 2, "kill"),
    Kind("kill rerun after COMMIT", "split:take", 2, "kill after"),
    Kind("ambiguous COMMIT (rerun)", "split:take", 2, "cut after"),
    Kind("lost answer of S3 (rerun)", "split:PutObject", 2, "lose answer"),
)
HOLD = (
    Kind("kill before a review is drawn", "any:review", 1, "kill"),
    Kind("kill after a review is drawn", "any:reviewed", 1, "kill after"),
    Kind("ambiguous COMMIT (review)", "any:reviewed", 1, "cut after"),
    Kind("message of a confirmation lost", "api:SendMessage", 1, "lose message"),
)


UNDO = (
    Kind("kill undo at a statement", "settle:statement", 80, "kill"),
    Kind("kill undo at a statement", "settle:statement", 80, "kill"),
    Kind("kill undo before COMMIT", "settle:commit", 8, "kill"),
    Kind("kill undo after COMMIT", "settle:commit", 8, "kill after"),
    Kind("ambiguous COMMIT (undo)", "settle:commit", 8, "cut after"),
    Kind("cut a statement (undo)", "settle:statement", 80, "cut"),
    Kind("undo message lost", "api:SendMessage", 1, "lose message"),
    Kind("chunk messages repeated in an undo", "settle:commit", 6, "repeat chunks"),
)


def draw(seed: int) -> Plan:
    """The plan of a seed; the same for ever, as long as this file is."""
    random = Random(seed)
    faults = (
        *_sample(random, KILLS, 2),
        *_sample(random, CUTS, 4),
        *_sample(random, SERVICES, 3),
        *_sample(random, MESSAGES, 2),
        *_sample(random, SERVER, random.choice((0, 0, 1))),
        *_sample(Random(-1 - seed), RECEIPTS, 1),  # by itself: what else a seed draws is as it was
    )
    uploads = _uploads(random)
    skew = tuple((name, random.choice((-3, 0, 3))) for name in ("load", "split", "settle", "sweep"))
    plan = Plan(seed, uploads, faults, skew if random.random() < 0.3 else (), hides=random.random() < 0.4)
    return _with_second_looks(_with_undo(plan, Random(f"undo {seed}")), Random(f"looks {seed}"))


def _with_undo(plan: Plan, random: Random) -> Plan:
    """In one seed of two an upload is undone: one that is the last into its dataset, and has no rival there."""
    shapes = [each.recipe.shape for each in plan.uploads if each.wave]
    able = [place for place, each in enumerate(plan.uploads) if each.wave and shapes.count(each.recipe.shape) == 1]
    if not able or random.random() < 0.5:
        return plan
    upserts = [place for place in able if plan.uploads[place].mode == "upsert"]  # which have more to be undone
    chosen, uploads = random.choice(upserts or able), list(plan.uploads)
    whole = uploads[chosen].whole
    uploads[chosen] = replace(uploads[chosen], undone=True, whole="" if whole == "abort" else whole)  # there is nothing
    return replace(plan, uploads=tuple(uploads), undo=tuple(_sample(random, UNDO, 3)))


def _with_second_looks(plan: Plan, random: Random) -> Plan:
    """In two seeds of five rejects are read again, in two an upload is held: into a dataset of their own."""
    uploads, faults = list(plan.uploads), list(plan.faults)
    fixed, held = random.random() < 0.4, random.random() < 0.4
    if fixed:
        # Whichever of the two comes first takes what both mend, or all that there is for one of them.
        fixes = ((NULLS,), (DATES, NULLS, KILOS))
        uploads.append(Upload(_recipe(random, "sales", 150), "insert", wave=0, fixes=fixes))
        faults += _sample(random, RERUN, 2)
    if held:
        uploads.append(Upload(_recipe(random, "sales", 100), "insert", wave=0, drift="warn"))
        odd = replace(_recipe(random, "sales", 150), odd=True)
        verdict: Verdict = random.choice(("confirm", "confirm", "cancel"))
        uploads.append(Upload(odd, "insert", 1, event=random.choice(("once", "twice")), drift="hold", verdict=verdict))
        faults += _sample(random, HOLD, 2)
    return replace(plan, uploads=tuple(uploads), faults=tuple(faults))


def _sample(random: Random, kinds: tuple[Kind, ...], count: int) -> list[Fault]:
    return [kind.drawn(random) for kind in random.sample(kinds, count)]


def _uploads(random: Random) -> tuple[Upload, ...]:
    """One file a dataset in the middle of the faults, sometimes on top of an older one or beside a rival.

    At most one has a fate of its own. Not one with two keys: what a first generation rejected for the sake of
    a row that a later one displaces stays rejected, so there the outcome depends on what was given up.
    """
    shapes: tuple[Shape, ...] = ("stock", "people", "log")
    uploads: list[Upload] = []
    for shape in random.sample(shapes, random.choice((2, 2, 3))):
        records, mode = random.choice((600, 900, 1200)), _mode(random, shape)
        if shape != "log" and random.random() < 0.5:
            uploads.append(Upload(_recipe(random, shape, 150), _mode(random, shape), wave=0))
        uploads.append(Upload(_recipe(random, shape, records), mode, 1, event=_event(random)))
        if shape == "stock" and random.random() < 0.3:
            uploads.append(Upload(_recipe(random, shape, records // 2), _mode(random, shape), 1))
    able = [place for place, each in enumerate(uploads) if each.wave and each.recipe.shape != "people"]
    if able:
        fates: tuple[Fate, ...] = ("", "", "", "", "cancel", "replace", "garble", "kill")
        chosen = random.choice(able)
        uploads[chosen] = replace(uploads[chosen], fate=random.choice(fates))
    return tuple(replace(each, whole=_whole(random, each)) for each in uploads)


def _whole(random: Random, upload: Upload) -> Whole:
    # What was given up of a file with rejects is not tried again where one of them is one too many.
    drawn: Whole = random.choice(("", "", "", "budget", "budget", "abort"))
    return "" if not upload.wave or (upload.fate and drawn == "abort") else drawn


def _event(random: Random) -> Event:
    return random.choice(("once", "once", "once", "twice", "lost"))


def _mode(random: Random, shape: Shape) -> str:
    return random.choice(("insert", "skip", "upsert") if shape == "stock" else ("insert", "skip"))


def _recipe(random: Random, shape: Shape, records: int) -> Recipe:
    return Recipe(
        shape, records, spread=max(records - 20, 10), offset=random.choice((0, 50)), salt=random.getrandbits(32)
    )
