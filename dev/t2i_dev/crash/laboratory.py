"""Runs one cell of the matrix: fill a prefix, let a client live under a fault, restart it, look at every instant.

A cell is red if something that must never be was seen after any side effect, if a client ended in a way that the code
does not announce, if the planned fault was never met, or if the restarts do not reach the fault-free end state.
"""

import itertools
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from t2i_checkpoint.s3 import S3Limits, S3Store
from t2i_checkpoint.store import Credentials
from t2i_dev.crash.impatience import hurry
from t2i_dev.crash.scenario import ARCHIVE_COUNT, Objects, Scenario, without_meddling
from t2i_dev.crash.stores import IndependentReader, TestedStore
from t2i_dev.faults import (
    Answer,
    Ending,
    EndingKind,
    Fault,
    FaultProxy,
    ForkedClient,
    PlannedFault,
    Record,
    S3Request,
)

RESTARTS = 3
_HANG_SECONDS = 60.0
_WRONG = {EndingKind.CRASHED, EndingKind.HUNG}
_READ_SECONDS, _IMPATIENT_SECONDS = 20.0, 0.7


@dataclass(frozen=True)
class Cell:
    """One cell's result; `problems` is empty where everything held."""

    plan: str
    effect: str
    problems: tuple[str, ...]
    endings: tuple[Ending, ...]
    instants: int


@dataclass(frozen=True)
class Reference:
    """A fault-free run: its side effects, its listings, what it leaves."""

    effects: tuple[S3Request, ...]
    listings: int
    end_state: Mapping[str, bytes]
    left: Objects


@dataclass
class Watcher:
    """Looks at the whole bucket after every side effect."""

    scenario: Scenario
    reader: IndependentReader
    prefix: str
    meddled: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    instants: int = 0

    def after(self, request: S3Request) -> None:
        """Check what `request` names and what it left."""
        for key in request.keys:
            relative = key.removeprefix(self.prefix)
            of_meddler = any(relative == each or relative.endswith(f"/{each}") for each in self.meddled)
            if not key.startswith(self.prefix) or not (of_meddler or self.scenario.may_change(relative)):
                self.problems.append(f"{request.action} names {key}, which is no part of the plan")
        self.look(str(request).replace(self.prefix, ""))

    def meddle(self, fault: Fault, request: S3Request) -> None:
        """Write what somebody else writes."""
        written = self.scenario.meddling(fault, request)
        self.reader.fill(self.prefix, written)
        if fault is not Fault.CORRUPTED:  # damage is nobody's property
            self.meddled.update(written)

    def look(self, after: str) -> Objects:
        """Check the bucket as it is now; returns it as if nobody had meddled."""
        self.instants += 1
        found = self.reader.read(self.prefix)
        for key, content in self.meddled.items():
            if not any(there == content for each, there in found.items() if each == key or each.endswith(f"/{key}")):
                self.problems.append(f"after {after}: what somebody else wrote to {key} is nowhere any more")
        now = without_meddling(self.scenario, found, self.meddled)
        self.problems += [f"after {after}: {found}" for found in self.scenario.violations(now)]
        return now


class Trial:
    """One prefix of the bucket and the lives that clients led on it."""

    def __init__(self, laboratory: "Laboratory", scenario: Scenario, prefix: str) -> None:
        self._laboratory = laboratory
        self._scenario = scenario
        self.prefix = prefix
        self._reader = laboratory.reader
        self.watcher = Watcher(scenario, laboratory.reader, prefix)
        self.endings: list[Ending] = []
        self.is_blind = False  # whether a client was kept from seeing what another did
        self._reader.fill_again(laboratory.template(scenario), prefix, scenario.start)
        self._earlier = self._reader.listing(prefix)

    def live(self, plan: PlannedFault | None = None) -> Record:
        """Let one client live to its end."""
        client, proxy = self.born(plan)
        self.endings.append(client.wait(_HANG_SECONDS))
        return proxy.end()

    def born(self, plan: PlannedFault | None, *, rival: bool = False) -> tuple[ForkedClient, FaultProxy]:
        """Start a client behind a proxy; a rival has a proxy of its own."""
        proxy = self._laboratory.proxies[1 if rival else 0]
        impatient = plan is not None and plan.behaviour.answer is Answer.SILENCE
        life = len(self.endings) + (2 if rival else 1)
        client = self._fork(life, proxy.endpoint, _IMPATIENT_SECONDS if impatient else _READ_SECONDS)
        fault = plan.fault if plan is not None else Fault.KILLED_BEFORE

        def meddle(request: S3Request) -> None:
            self.watcher.meddle(fault, request)

        proxy.begin(client.pid, plan, watch=self.watcher.after, meddle=meddle, earlier=self._earlier)
        client.go()
        return client, proxy

    def _fork(self, life: int, endpoint: str, read_seconds: float) -> ForkedClient:
        def work() -> None:
            hurry(read_seconds)
            store = self._laboratory.open(self.prefix, endpoint, self._scenario.limits)
            self._scenario.work(store, life)

        return ForkedClient.fork(work, refusals=self._scenario.refusals)

    def restart(self) -> None:
        """Let clients live without faults until one is done; a meddler's file is in the way until it is taken away."""
        for _ in range(RESTARTS):
            if self.endings[-1].kind is EndingKind.DONE:
                return
            self.live()
        if self.endings[-1].kind is EndingKind.REFUSED and self.watcher.meddled:
            self._reader.remove(self.prefix, self.watcher.meddled)
            self.watcher.meddled.clear()
            self.live()

    def settle(self, plan: PlannedFault, reference: Reference) -> Cell:
        """Compare the end with the fault-free one, and gather what went wrong on the way."""
        problems = self.watcher.problems
        problems += [f"a client ended wrongly: {each.said}" for each in self.endings if each.kind in _WRONG]
        if self.endings[-1].kind is not EndingKind.DONE:
            problems.append(f"no convergence within {RESTARTS} restarts: {self.endings[-1].said}")
        expected, end = dict(reference.end_state), self.end_state()
        if end != expected and self.endings[-1].kind is EndingKind.DONE:
            # A lie that was believed (a 412 for what is not there, a stale listing) is found out by the next life.
            self.live()
            end = self.end_state()
        # Who cannot see the other's archive, stopped or shown an old listing, may archive the same bytes once more.
        unseen = {ARCHIVE_COUNT} if self.is_blind else set()
        for key in {*self.watcher.meddled, *unseen}:  # somebody's own by now
            end.pop(key, None)
            expected.pop(key, None)
        if end != expected:
            differing = sorted(key for key in {*end, *expected} if end.get(key) != expected.get(key))
            problems.append(f"the end state differs from the fault-free one in {differing}")
        problems += self.open_uploads()
        effects = reference.effects
        effect = effects[plan.at - 1].action if 0 < plan.at <= len(effects) else ""
        return Cell(str(plan), effect, tuple(dict.fromkeys(problems)), tuple(self.endings), self.watcher.instants)

    def end_state(self) -> dict[str, bytes]:
        """Look once more, and return what is left."""
        return dict(self._scenario.end_state(self.watcher.look("the end")))

    def open_uploads(self) -> list[str]:
        """Say what multipart uploads were left open."""
        return [f"an upload of {key} was left open" for key in self._reader.open_uploads(self.prefix)]


class Laboratory:
    """A store under test, two fault proxies before it, and an independent reader behind them."""

    def __init__(self, store: TestedStore) -> None:
        self.store = store
        self.reader = store.independent()
        self.proxies = (FaultProxy(store.endpoint), FaultProxy(store.endpoint))
        self._references: dict[str, Reference] = {}
        self._templates: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # boto3 reads its service model once a process: here, so that no forked client pays for it.
        self.open("", self.store.endpoint)
        for proxy in self.proxies:
            self._stack.enter_context(proxy)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def open(self, prefix: str, endpoint: str, limits: S3Limits | None = None) -> S3Store:
        """Open the bucket as the code under test does."""
        keys = Credentials(self.store.access_key, self.store.secret_key)
        return S3Store(self.store.bucket, prefix, endpoint=endpoint, credentials=keys, limits=limits)

    def template(self, scenario: Scenario) -> str:
        """Return a prefix that holds what the scenario begins with and is left alone."""
        if scenario.name not in self._templates:
            prefix = self._new_prefix()
            self.reader.fill(prefix, scenario.start)
            self._templates[scenario.name] = prefix
        return self._templates[scenario.name]

    def reference(self, scenario: Scenario) -> Reference:
        """Run without a fault, then once more, which must change nothing; AssertionError if anything is wrong."""
        if scenario.name not in self._references:
            trial = self._trial(scenario)
            record = trial.live()
            settled, left = trial.end_state(), self.reader.read(trial.prefix)
            trial.live()
            problems = [*trial.watcher.problems, *trial.open_uploads()]
            problems += [each.said for each in trial.endings if each.kind is not EndingKind.DONE]
            if problems:
                raise AssertionError(f"{scenario.name} fails without any fault: {problems}")
            if trial.end_state() != settled:
                raise AssertionError(f"{scenario.name}: a second run had something to do")
            self._references[scenario.name] = Reference(record.effects, record.listings, settled, left)
        return self._references[scenario.name]

    def cell(self, scenario: Scenario, plan: PlannedFault, *, at_restart: PlannedFault | None = None) -> Cell:
        """One life under `plan`, the next under `at_restart`, then lives without a fault until one is done."""
        reference = self.reference(scenario)
        trial = self._trial(scenario)
        if not trial.live(plan).has_struck:
            trial.watcher.problems.append("the planned fault was never met")
        if at_restart is not None:
            trial.is_blind = at_restart.fault is Fault.STALE_LIST
            trial.live(at_restart)
        trial.restart()
        return trial.settle(plan, reference)

    def one_effect_a_life(self, scenario: Scenario) -> Cell:
        """Every process dies right after its first side effect, until one finds nothing left to do."""
        reference = self.reference(scenario)
        trial = self._trial(scenario)
        plan = PlannedFault(Fault.ONE_EFFECT, 0)
        for _ in range(4 * len(reference.effects)):
            if not trial.live(plan).has_struck:
                break
        return trial.settle(plan, reference)

    def duel(self, scenario: Scenario, plan: PlannedFault) -> Cell:
        """A first process is stopped (SIGSTOP) at a side effect, a second one runs to its end, the first goes on."""
        reference = self.reference(scenario)
        trial = self._trial(scenario)
        trial.is_blind = True
        stopped, first = trial.born(plan)
        if not first.wait_stopped(_HANG_SECONDS):
            trial.watcher.problems.append("the planned stop was never met")
        overtaking, second = trial.born(None, rival=True)
        trial.endings.append(overtaking.wait(_HANG_SECONDS))
        second.end()
        first.release()
        trial.endings.append(stopped.wait(_HANG_SECONDS))
        first.end()
        trial.restart()
        return trial.settle(plan, reference)

    def _trial(self, scenario: Scenario) -> Trial:
        return Trial(self, scenario, self._new_prefix())

    def _new_prefix(self) -> str:
        return f"crash/{os.getpid()}-{next(self._numbers):05d}/"
