"""The engine for several cards and machines: the steps of a batch are done by Ray's actors.

An actor holds its networks for its life, and has one step at a time: nothing waits in Ray's queues. Through Ray go
only the description of a step and its small answer; pictures, sound and encoded pieces are files that every machine
sees.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .batch import Batch
from .errors import MuseTalkError, WorkerError
from .opening import Opening, new_cache
from .progress import silent

if TYPE_CHECKING:
    from ray import ObjectRef

    from .batch_steps import Begun, Job, Made, Step

log = logging.getLogger(__name__)

TRIES = 3
"""So often a step is begun whose worker dies or breaks, and a worker that does not start."""

_PATIENCE = 30.0  # seconds without an answer, or without a worker, before that is told


@dataclass(frozen=True)
class Cluster:
    """What a cluster gives to workers.

    Attributes:
        gpus: Of a card, what a worker is given, above 0 and at most 1; 1 where there are cards when None.
        cpus: Cores of a worker; a machine's divided by its workers when None.
        most: No more workers than this, where there is room for more.
    """

    gpus: float | None = None
    cpus: int | None = None
    most: int | None = None


class MuseTalkWorker:
    """A `Worker` in a process of Ray's."""

    def open(self, opening: Opening, kinds: Sequence[str], share: float, seen: Path | None) -> str:
        """Open the networks, once; gives the machine's name.

        Args:
            opening, kinds: Which.
            share: Of the card, see `new_cache`.
            seen: A file that is there, if there is one.

        Raises:
            WorkerError: this machine does not see that file. It would fail one clip after the other, and soon all.
            WeightsMissingError: naming every missing file.
        """
        if seen and not seen.exists():
            raise WorkerError(
                f"{socket.gethostname()} does not see {seen}.",
                "Give every machine the same files under the same names.",
            )
        import ray

        from .batch_work import Worker

        self._worker = Worker(opening.open(kinds, new_cache(share)))
        return f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:8]}"

    def do(self, job: Job, step: Step) -> tuple[Begun | Made | None, float]:
        """Do a step; gives what `Worker.do` gives, and how many seconds it took."""
        started = time.monotonic()
        result = self._worker.do(job, step, lambda stage: silent)
        return result, time.monotonic() - started


@dataclass(eq=False)
class _Hand:
    """An actor as this process sees it.

    Attributes:
        actor: Ray's handle.
        tries: How often it, and those before it that did not, were started.
        where: The machine it runs on; "" before it is known.
        step: What it does now.
    """

    actor: Any
    tries: int
    where: str = ""
    step: Step | None = None


def run(ray: Any, batch: Batch, cluster: Cluster, opening: Opening, kinds: Sequence[str]) -> None:
    """Do all the steps of a batch on a cluster.

    Args:
        ray: From `connected`.
        batch: The batch.
        cluster: What each worker is given.
        opening, kinds: The networks of each worker.

    Raises:
        WorkerError: the cluster has no room for a worker, or none starts.
        MuseTalkError: what is wrong with the weights, or the storage, on all machines.
    """
    voices = (job.line.task.audio for job in batch.jobs)
    seen = next((voice for voice in voices if voice.exists()), None)
    batch.report.workers, options = _sized(cluster, ray.nodes())
    make = ray.remote(max_restarts=0, **options)(MuseTalkWorker).remote
    engine = _Engine(batch, ray, make, (opening, kinds, options["num_gpus"] or 1.0, seen))
    try:
        engine.run(batch.report.workers)
    finally:
        engine.end()


class _Engine:
    """Gives steps to hands that are free, and takes what they come back with."""

    def __init__(self, batch: Batch, ray: Any, make: Any, opening: tuple[Any, ...]) -> None:
        self._batch, self._ray = batch, ray
        self._make, self._opening = make, opening
        self._busy: dict[ObjectRef, _Hand] = {}  # by what they will come back with
        self._free: list[_Hand] = []
        self._broken: dict[Step, list[str]] = {}  # where a step broke its worker

    def run(self, count: int) -> None:
        for _ in range(count):
            self._start()
        while not self._batch.over:
            while self._free and (step := self._batch.next()):
                self._give(step)
            ready, _ = self._ray.wait(list(self._busy), timeout=_PATIENCE)
            for ref in ready:
                self._take(ref, self._busy.pop(ref))
            if not ready and not any(hand.step for hand in self._busy.values()):
                log.warning("No worker has started yet: the cluster has no room, or is slow")

    def end(self) -> None:
        """Nothing more is to be done: the workers go."""
        for hand in (*self._free, *self._busy.values()):
            self._ray.kill(hand.actor)

    def _start(self, tries: int = 1) -> None:
        hand = _Hand(self._make(), tries)
        self._busy[hand.actor.open.remote(*self._opening)] = hand

    def _give(self, step: Step) -> None:
        """A step goes to a free hand, if possible where it did not break one before."""
        broken = self._broken.get(step, ())
        hand = next((hand for hand in self._free if hand.where not in broken), self._free[0])
        self._free.remove(hand)
        hand.step = step
        named = hand.actor.do.options(name=self._batch.name(step))
        self._busy[named.remote(self._batch.jobs[step.clip], step)] = hand

    def _take(self, ref: ObjectRef, hand: _Hand) -> None:
        from ray.exceptions import RayTaskError

        step, hand.step = hand.step, None
        try:
            answer = self._ray.get(ref)
        except Exception as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            if isinstance(cause, KeyboardInterrupt):
                raise cause from error
            if step and isinstance(cause, MuseTalkError):  # would be the same anywhere
                self._batch.failed(step, cause)
                self._free.append(hand)
                return
            self._ray.kill(hand.actor)  # where a card or a process is broken, it stays so
            if step:
                self._retry(step, hand.where, cause)
                self._start()
            else:
                self._start_again(hand, cause)
            return
        if step:
            self._batch.done(step, *answer, hand.where)
        else:
            hand.where = answer
        self._free.append(hand)

    def _retry(self, step: Step, where: str, error: Exception) -> None:
        broken = self._broken.setdefault(step, [])
        broken.append(where)
        if len(broken) < TRIES:
            log.warning(
                "%s: its worker on %s is lost, trying it again (%s)", self._batch.name(step), where, _short(error)
            )
            self._batch.again(step)
            return
        self._batch.failed(
            step,
            WorkerError(
                f"{self._batch.name(step)} ended its worker {TRIES} times, at last with: {_short(error)}.",
                "Look at the worker's log in Ray's dashboard; what is done of the clip is kept for the next start.",
            ),
        )

    def _start_again(self, hand: _Hand, error: Exception) -> None:
        """A worker did not start: not for want of trying, unless it says what is wrong."""
        if hand.tries < TRIES and not isinstance(error, MuseTalkError):
            self._start(hand.tries + 1)
            return
        if not self._free and not self._busy:
            raise (
                error
                if isinstance(error, MuseTalkError)
                else WorkerError(
                    f"No worker starts: {_short(error)}.", "Look at the workers' logs in Ray's dashboard."
                )
            )
        log.warning("A worker does not start, the others go on without it: %s", _short(error))


def _short(error: Exception) -> str:
    """What an error says, in short: Ray's go on for many lines, of which the last is the cause where there is one."""
    said = str(error).strip().splitlines() or [""]
    line = said[-1] if "creation task" in said[0] else said[0]
    return f"{type(error).__name__}: {line}".rstrip(".")


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster until the end.

    Args:
        address: Of a running one, as for `ray.init`; one is started on this machine when None.

    Raises:
        WorkerError: there is no Ray, or no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise WorkerError(
            f"Ray is not installed ({error}).", 'Install it on every machine: python -m pip install "ray[default]".'
        ) from error
    if address and ":" in address:
        _require_answer(address)
    try:
        own = {"py_modules": [str(Path(__file__).parent)]}  # so that all machines run the same code
        ray.init(address=address or "local", runtime_env=own, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _nobody(address or "this machine", error) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray itself would try again for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _nobody(address, error) from error


def _nobody(address: str, error: Exception) -> WorkerError:
    return WorkerError(
        f"There is no Ray cluster at {address} ({error}).",
        "Start one with ray start --head, or leave out --address to use this machine alone.",
    )


def _sized(cluster: Cluster, nodes: list[dict[str, Any]]) -> tuple[int, dict[str, float]]:
    """How many workers a cluster holds, and what each is given of its machine.

    Raises:
        WorkerError: it has no room for one.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = cluster.gpus if cluster.gpus is not None else float(any(machine.get("GPU") for machine in machines))

    def places(machine: dict[str, float]) -> float:
        """For how many workers a machine has cards: no worker is on two."""
        return int(machine.get("GPU", 0)) * int(1 / gpus) if gpus else math.inf

    cpus = cluster.cpus or min(
        (
            max(1, int(machine["CPU"] // (places(machine) if gpus else 1)))
            for machine in machines
            if machine.get("CPU") and places(machine)
        ),
        default=1,
    )
    count = sum(int(min(machine.get("CPU", 0) // cpus, places(machine))) for machine in machines)
    if not count:
        raise WorkerError(
            f"The cluster has no machine with {gpus:g} cards and {cpus} cores for a worker.",
            "Give less with --gpus-per-worker or --cpus-per-worker.",
        )
    return min(count, cluster.most or count), {"num_cpus": cpus, "num_gpus": gpus}
