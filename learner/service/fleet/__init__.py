"""A fleet: one process works many models in fair turns, and shares them with other such processes by their leases.

One thread gives out the turns, waits for what comes, and now and then looks after the fleet; another one takes models over;
one gives signs of life, and one writes commits. The loops are compiled once for all models.
"""

import contextlib
import fnmatch
import functools
import heapq
import itertools
import math
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import FencedError, LearnerError, MissingError, RejectedError, StreamError
from learner.service import log
from learner.service.answering import MEANWHILE_SECONDS
from learner.service.fleet.balancing import Part, n_to_take, rank, surplus
from learner.service.fleet.hearts import FleetHeart
from learner.service.fleet.looking import Looking, Seen
from learner.service.fleet.member import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, Member
from learner.service.flushing import HELD_SECONDS
from learner.service.lease import LEASE_SECONDS, heart_of, process_name
from learner.service.reading import BLOCK_MS
from learner.service.stopping import note_stop
from learner.service.store import Store, connection, embedded, fleets
from learner.service.store.link import Lines
from learner.service.store.moving import moved_to
from learner.service.store.ownership import Owner
from learner.service.store.waking import Waking
from learner.service.working import Worker
from learner.service.writing import Writer

if TYPE_CHECKING:
    from learner.service.store.topology import Address

__all__ = ["CONNECTIONS", "Fleet", "connect"]

CONTROL_SECONDS = 1.0  # between two looks after the fleet
ADOPT_SECONDS = 0.02  # between two looks at the models that are being taken over
GIVE_SECONDS = 0.1  # of such a look, for giving models back
RETRY_SECONDS = 60.0  # until a model that could not be worked is tried again, at most
CONNECTIONS = 4  # that a model may need at most: of a cluster, each slot has its own
SPARE_CONNECTIONS = 100
LOOKS_A_SECOND = 100  # at models with nothing to do: settings that changed, outcomes that didn't come
COMMIT_SHARE = 0.25  # of the time, for writing commits: when it takes more, they come less often
LAST_COMMIT_SECONDS = 30.0  # between two commits of a model, at most
SILENT_SECONDS = 60.0  # without a round of the loop, after which the process does not count as alive
REMIND_SECONDS = 60.0  # until a message about the same trouble comes again


class Fleet:
    """A process of a fleet.

    Parameters
    ----------
    client : redis.Redis
        The connection to the server, or to the cluster.
    redis_url : str or None
        The server; None: the one that is found.
    pattern : str
        Which models it is for: ``*`` stands for anything.
    most : int
        How many models it works at most.
    commit_seconds : float
        The shortest time between two commits of a model while examples come.
    lease_seconds : float
        For how long it may give no sign of life before others take its models over.
    held_seconds : float
        For how long a model holds examples back, at most, while few come.

    Attributes
    ----------
    members : dict of str to Member
        The models that it works.
    """

    def __init__(
        self,
        client: Any,
        redis_url: str | None,
        pattern: str,
        most: int,
        commit_seconds: float = 2.0,
        lease_seconds: float = LEASE_SECONDS,
        held_seconds: float = HELD_SECONDS,
    ) -> None:
        self.client = client
        self.redis_url = redis_url
        self._url = embedded.find(redis_url)
        self.pattern = pattern
        self.most = most
        self.commit_seconds = self._least_commit_seconds = commit_seconds
        self.lease_seconds = lease_seconds
        self.held_seconds = held_seconds
        self.members: dict[str, Member] = {}
        self.stopping = False
        self.lines = Lines()
        self.heart = FleetHeart(lambda: self.client)
        self.name = token_hex(8)
        self._beating = heart_of(connection.address(client))
        self._heartbeat = self._beating.add(self.heart, lease_seconds)
        self._sight = Looking(pattern, self.lines, self._say)
        self._taker = ThreadPoolExecutor(1, "taking")
        self._looker = ThreadPoolExecutor(1, "looking")
        self._looking: Future[Seen] | None = None  # the look that is on its way
        self._has_shared = False  # whether there was one
        self._taken: dict[str, Future[Member | None]] = {}  # what is being taken over, by model
        self._over: deque[str] = deque()  # models whose taking is over
        self._retry_at: dict[str, float] = {}  # models that could not be worked, and when to try again
        self._pauses: dict[str, float] = {}  # before the next try to take over one that could not be
        self._selector = selectors.DefaultSelector()
        self._fresh: deque[Member] = deque()  # with something that has just come
        self._going_on: deque[Member] = deque()  # with more to do
        self._due: list[tuple[float, int, Member]] = []  # a heap of turns that come at some time; old ones, too
        self._numbers = itertools.count()
        self._looked_at = 0.0
        self._controlled_at = -CONTROL_SECONDS
        self._lived_at = time.monotonic()  # when the loop began its last round
        self._made_room_at = -REMIND_SECONDS
        self._commit_sum = 0.0
        self._parked: dict[Address | None, Future[None]] = {}  # primaries that gave no answer, until they do
        self._said: dict[str, float] = {}
        self._given_up: dict[str, int] = {}  # at the end, with how many examples they had learned

    def stop(self) -> None:
        """Have it give up all models, with everything committed."""
        self.stopping = True

    # ---- probes ----
    def ailing(self) -> str:
        """Return why the process should be ended, in words; empty: it lives."""
        silent = time.monotonic() - self._lived_at
        return f"no turn was given for {silent:.0f} s" if silent > SILENT_SECONDS else ""

    def unready(self) -> str:
        """Return why it does not do its part of the work yet, in words; empty: it does."""
        if self._taken or not self._has_shared:
            return f"it takes models over: {len(self._taken)} are left, {len(self.members)} are taken"
        return self.ailing()

    # ---- turns ----
    def run(self) -> dict[str, Any]:
        """Take models over and give them turns until it is to stop; then commit everything and give all of them up.

        Returns
        -------
        dict
            The numbers of ``models`` that it gave up, and of ``examples`` that they have learned in all.
        """
        try:
            while not self.stopping:
                self._lived_at = time.monotonic()
                self._control_if_due()
                self._share_when_seen()
                self._adopt()
                self._wait()
                self._give_turns()
        finally:
            self._drain()
        return {"models": len(self._given_up), "examples": sum(self._given_up.values())}

    def _wait(self) -> None:
        """Wait until something comes, or is due."""
        now = time.monotonic()
        until = self._controlled_at + CONTROL_SECONDS
        if self._due:
            until = min(until, self._due[0][0])
        if self._taken or self._looking:
            until = min(until, now + ADOPT_SECONDS)
        woken = self._woken(0.0 if self._fresh or self._going_on else max(until - now, 0.0))
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due, _, member = heapq.heappop(self._due)
            if due == member.due:
                self._queue(member)
        for member in woken:
            if member.is_queued and not member.requests.is_waiting:  # its turn may come late
                self._answer(member)
            self._queue(member)

    def _woken(self, seconds: float) -> list[Member]:
        """Return the models for which something comes within some seconds; those with requests at the end."""
        woken: dict[Member, None] = {}
        asked: dict[Member, None] = {}
        for key, _ in self._selector.select(seconds):
            member, waking = key.data
            if waking.descriptor < 0:  # what came for the model before was a trouble, which has closed it
                continue
            self._forget(waking)
            try:
                waking.end()
            except redis.RedisError as error:
                if _passing(error):
                    self._pause(member, error)
                elif waking is member.examples:  # its turn says what is wrong with them; without requests it goes on
                    woken[member] = None
            else:
                (asked if waking is member.requests else woken)[member] = None
        return [*(member for member in woken if member not in asked), *asked]

    def _queue(self, member: Member) -> None:
        """Have a model's turn come soon: that of the one that was queued last comes first."""
        if not member.is_queued:
            member.is_queued, member.due = True, math.inf
            self._fresh.appendleft(member)

    def _give_turns(self) -> None:
        """Give a turn to each model for which something has come, and to one that has more to do; answer all meanwhile."""
        some, self._fresh = self._fresh, deque()
        if self._going_on:
            some.append(self._going_on.popleft())
        for member in some:
            member.is_queued = False
            if self.members.get(member.model) is not member or self.stopping:
                continue
            if self._is_parked(member):
                self._due_in(member, FIRST_PAUSE_SECONDS)
            else:
                self._give_turn(member)
            self.answer_others()

    def _give_turn(self, member: Member) -> None:
        try:
            seconds = member.turn()
            self._wake_on(member, member.wait_for_requests())
            if seconds > 0.0:
                self._wake_on(member, member.wait_for_examples())
        except FencedError as error:
            self._lose(member, error, retry_seconds=0.0)
        except redis.RedisError as error:
            if _passing(error):
                self._pause(member, error)
            else:
                self._answer_only(member, error)
        except (StreamError, RejectedError) as error:
            self._answer_only(member, error)
        except Exception as error:  # noqa: BLE001  (no other model is to suffer)
            self._lose(member, error)
        else:
            if seconds > 0.0:
                self._due_in(member, min(seconds, max(len(self.members) / LOOKS_A_SECOND, 1.0)))
            elif not member.is_queued:
                member.is_queued = True
                self._going_on.append(member)

    def _due_in(self, member: Member, seconds: float) -> None:
        member.due = time.monotonic() + seconds
        heapq.heappush(self._due, (member.due, next(self._numbers), member))

    def _wake_on(self, member: Member, waking: Waking | None) -> None:
        if waking is not None and waking.descriptor < 0:
            waking.descriptor = waking.fileno()
            self._selector.register(waking.descriptor, selectors.EVENT_READ, (member, waking))

    def _forget(self, waking: Waking) -> None:
        if waking.descriptor >= 0:
            self._selector.unregister(waking.descriptor)
            waking.descriptor = -1

    def answer_others(self, worker: Worker | None = None) -> None:
        """Answer the requests that have come for other models than that of a worker, which is in the middle of learning."""
        now = time.monotonic()
        if now - self._looked_at < MEANWHILE_SECONDS:
            return
        self._looked_at = now
        for member in self._woken(0.0):
            if not member.requests.is_waiting and member.worker is not worker:
                self._answer(member)
            self._queue(member)

    def _answer(self, member: Member) -> None:
        """Answer the requests that have come for a model, and have it be woken when more come before its turn."""
        try:
            member.worker.answer_meanwhile()
            self._wake_on(member, member.wait_for_requests())
        except redis.RedisError:  # its turn has the same trouble
            pass
        except Exception as error:  # noqa: BLE001  (no other model is to suffer)
            self._lose(member, error)

    # ---- troubles ----
    def _pause(self, member: Member, error: Exception) -> None:
        """Have a model wait after a trouble of its server that passes."""
        self._end_waiting(member)
        self._say_again(f"{member.server}: ", error)
        self._due_in(member, member.pause())
        self._park(member)
        self._find_server()

    def _park(self, member: Member) -> None:
        """Give no turn to the models at a member's primary of a cluster until it answers, or another one in its place.

        While it hangs, each turn there would keep the models at the others waiting.
        """
        if (place := member.place) is None or place in self._parked:
            return
        self._parked[place] = Writer().submit(functools.partial(self._wait_for_answer, member))
        for each in self.members.values():
            if each.place == place:
                self._end_waiting(each)
                each.worker.store.find_anew()

    def _wait_for_answer(self, member: Member) -> None:
        """Wait, in a thread of its own, until a model's server answers."""
        while not self.stopping:
            with contextlib.suppress(redis.RedisError):
                member.worker.store.exists(member.model)
                return
            time.sleep(FIRST_PAUSE_SECONDS)

    def _is_parked(self, member: Member) -> bool:
        """Tell whether a model's server has still to answer."""
        answer = self._parked.get(member.place)
        if answer is None or not answer.done():
            return answer is not None
        del self._parked[member.place]
        return False

    def _end_waiting(self, member: Member) -> None:
        for waking in (member.examples, member.requests):
            self._forget(waking)
        member.close()

    def _find_server(self) -> None:
        """Use the server's new address, if it is an embedded one that was started again."""
        url = None
        with contextlib.suppress(LearnerError, OSError):
            url = embedded.find(self.redis_url)
        if url is None or url == self._url:
            return
        self._url, self.client = url, connect(url, self.most)
        for member in self.members.values():
            member.worker.store.client = self.client

    def _answer_only(self, member: Member, error: Exception) -> None:
        """Have a model whose stream has gone bad answer from its last commit; one that can't even do that is lost."""
        if member.only_answers:
            self._lose(member, error)
            return
        try:
            member.answer_only(error)
        except Exception as trouble:  # noqa: BLE001  (no other model is to suffer)
            if _passing(trouble):
                self._pause(member, trouble)
            else:
                self._lose(member, trouble)
        else:
            self._queue(member)

    def _lose(self, member: Member, error: Exception, retry_seconds: float = RETRY_SECONDS) -> None:
        """Work a model no more, because of an error."""
        self.members.pop(member.model, None)
        self._end_waiting(member)
        member.worker.owning.close()
        code, text = _code(error), _words(error)
        store = member.worker.store
        with contextlib.suppress(redis.RedisError):
            if isinstance(error, FencedError) and store.commits.has_moved():
                code = 0
            elif not store.exists(member.model):
                retry_seconds = 0.0  # it may be made again soon
                name = moved_to(store)
                if name or isinstance(error, FencedError):
                    code, text = 0, f"the model was renamed to {name!r}" if name else "the model was deleted"
            elif isinstance(error, FencedError) and store.ownership.is_lent():
                code, text = 0, "an administrator has the model for a moment"
        if retry_seconds:
            self._retry_at[member.model] = time.monotonic() + retry_seconds
        note_stop(store, code, text)
        with contextlib.suppress(redis.RedisError, LearnerError):  # nobody has to wait for its silence
            member.worker.owning.release()

    def _say_again(self, where: str, error: BaseException) -> None:
        """Say that something is tried again after an error."""
        trouble = f"{words}, " if (words := _passing(error)) else ""
        self._say("retry", f"{where}{trouble}trying again ({_words(error)})", "warning")

    def _say(self, event: str, text: str, level: str = "info", **figures: Any) -> None:
        """Write a line of the fleet's own into the log, the same one not again for a while."""
        if text not in self._said:
            self._said[text] = time.monotonic()
            log.line(event, f"fleet of {self.pattern}: {text}", level, **figures)

    # ---- taking over ----
    def _take(self, name: str, owner: Owner) -> Member | None:
        """Take a model over, in the taking thread; None: another process was faster."""
        if self.stopping:
            return None
        store = Store(self.client, name, self.lines)
        worker = Worker(store, self.commit_seconds, self.lease_seconds, held_seconds=self.held_seconds, fleet=self)
        if not worker.take_from(owner):
            return None
        event = "takeover" if worker.owning.replaced else "start"
        replaced = f", in place of {worker.owning.replaced}" if worker.owning.replaced else ""
        epoch = worker.store.ownership.epoch
        log.event(name, event, f"epoch {epoch}, {worker.learned}{replaced}", epoch=epoch)
        for shortcoming in worker.shortcomings:
            self._say("durability", f"warning, what is learned may be lost: {shortcoming}", "warning")
        return Member(worker)

    def _taking_over(self, name: str, future: "Future[Member | None]") -> None:
        self._over.append(name)

    def _adopt(self) -> None:
        """Give a first turn to the models that were taken over."""
        while self._over:
            name = self._over.popleft()
            future = self._taken.pop(name)
            if future.cancelled():
                continue
            error = future.exception()
            if isinstance(error, MissingError):  # deleted or renamed since it was seen; it may be made again soon
                continue
            if error:
                self._retry_later(name, error)
            elif member := future.result():
                self._pauses.pop(name, None)
                member.worker.committing.commit_seconds = self.commit_seconds
                self.members[name] = member
                self._queue(member)

    def _retry_later(self, name: str, error: BaseException) -> None:
        """Take a model over later, after ever longer pauses unless the trouble passes; say why, at first in status, too."""
        pause = LAST_PAUSE_SECONDS
        if not _passing(error):
            if name not in self._pauses:
                with contextlib.suppress(redis.RedisError):
                    Store(self.client, name, self.lines).processes.note("stopped", _code(error), _words(error))
            pause = self._pauses[name] = min(2 * self._pauses.get(name, pause / 2), RETRY_SECONDS)
        self._retry_at[name] = time.monotonic() + pause
        self._say("untaken", f"model {name!r} can't be worked: {_words(error)}", "error")

    # ---- looking after the fleet ----
    def _control_if_due(self) -> None:
        now = time.monotonic()
        if (seconds := now - self._controlled_at) < CONTROL_SECONDS:
            return
        self._controlled_at = now
        if self._heartbeat.problem:
            raise self._heartbeat.problem
        self._retry_at = {name: at for name, at in self._retry_at.items() if at > now}
        said = list(self._said.items())  # in one step, as other threads say something, too
        self._said = {text: at for text, at in said if now - at < REMIND_SECONDS}
        for member in self.members.values():
            member.measure(seconds)
        self._pace_commits(seconds)
        if self._looking is None:
            own = self._retry_at.keys() | self.members.keys() | self._taken.keys()
            self._looking = self._looker.submit(self._sight.look, self.client, own, self._note())

    def _pace_commits(self, seconds: float) -> None:
        """Have commits come less often while writing them takes too much of the time."""
        total = sum(member.worker.counts.commit_seconds.sum for member in self.members.values())
        share, self._commit_sum = (total - self._commit_sum) / seconds, total
        wanted = max(self.commit_seconds, FIRST_PAUSE_SECONDS) * (1.25 if share > COMMIT_SHARE else 0.8)
        self.commit_seconds = min(max(wanted, self._least_commit_seconds), LAST_COMMIT_SECONDS)
        for member in self.members.values():
            member.worker.committing.commit_seconds = self.commit_seconds

    def _share_when_seen(self) -> None:
        """Take models that nobody works, or give some back, once it is known what the others do."""
        if self._looking is None or not self._looking.done():
            return
        looked, self._looking = self._looking, None
        if error := looked.exception():
            self._say_again("", error)
            self._find_server()
            return
        vacant, left, notes = looked.result()
        self._has_shared = True
        costs = {name: member.cost for name, member in self.members.items()}
        own = Part(len(costs) + len(self._taken), self.most, sum(costs.values()))
        others = [note for note in notes if note.pattern == self.pattern]
        names = [note.name for note in others]
        parts = [Part(note.models, note.most, note.cost) for note in others]
        n = max(n_to_take(own, parts, len(vacant)), min(len(left), self.most - own.models))
        for name in sorted(vacant, key=lambda name: (name not in left, rank(name, self.name, names)))[:n]:
            self._taken[name] = self._taker.submit(self._take, name, vacant[name])
            self._taken[name].add_done_callback(functools.partial(self._taking_over, name))
        if len(left) > n:
            text = "have no worker: every process of the fleet has as many as it may (--max-models)"
            self._say("full", f"{len(left) - n} models {text}", "warning", models=len(left) - n)
            self._make_room(len(left) - n, notes)
        if not vacant and not self._taken:
            self._give_back(surplus(own, parts, costs))

    def _make_room(self, n: int, notes: Sequence[fleets.Note]) -> None:
        """Give up to n models back that processes with another pattern have room for, not again for a while."""
        if time.monotonic() - self._made_room_at < REMIND_SECONDS:
            return
        names = dict[str, None]()
        for note in notes:
            if note.pattern != self.pattern:
                fitting = fnmatch.filter(self.members.keys() - names, note.pattern)
                names |= dict.fromkeys(fitting[: max(note.most - note.models, 0)])
        if names:
            self._made_room_at = time.monotonic()
            self._give_back(list(names)[:n])

    def _note(self) -> fleets.Note:
        """Return this process's note."""
        cost = round(sum(member.cost for member in self.members.values()), 4)
        n = len(self.members) + len(self._taken)
        about = (self.name, process_name(), socket.gethostname(), os.getpid(), self.pattern)
        return fleets.Note(*about, n, self.most, cost, self.lease_seconds)

    def _give_back(self, names: list[str]) -> None:
        """Give up some models, for other processes of the fleet."""
        started = time.monotonic()
        for name in names:
            self._finish(self.members[name], "another process of the fleet has more room")
            if time.monotonic() - started > GIVE_SECONDS:
                break

    def _finish(self, member: Member, reason: str) -> None:
        """Commit what a model has learned, and give it up."""
        self._end_waiting(member)
        try:
            member.finish()
        except Exception as error:  # noqa: BLE001  (no other model is to suffer)
            if _passing(error) and member.worker.committing.n_uncommitted:
                member.worker.stopping = False
                self._pause(member, error)
            else:
                self._lose(member, error)
            return
        self.members.pop(member.model, None)
        if self.stopping:
            self._given_up[member.model] = member.worker.model.n_examples
        note_stop(member.worker.store, 0, f"{reason}; {member.worker.learned}")

    # ---- the end ----
    @property
    def n_uncommitted(self) -> int:
        """Entries learned that are in no commit yet, as far as is known."""
        return sum(member.worker.committing.n_uncommitted for member in self.members.values())

    def _drain(self) -> None:
        """Give up all models, and wait for those that are being taken over."""
        is_patient, self.stopping = self.stopping, True
        for future in self._taken.values():
            future.cancel()
        self._finish_all(is_patient)
        self._taker.shutdown()
        self._looker.shutdown()
        self._adopt()
        self._finish_all(is_patient)
        self._beating.remove(self._heartbeat)
        with contextlib.suppress(redis.RedisError):
            fleets.drop_note(self.client, self.name)
        self._selector.close()

    def _finished_at(self, member: Member) -> tuple[bool, int]:
        return self._is_parked(member), member.worker.committing.n_uncommitted

    def _finish_all(self, is_patient: bool) -> None:
        """Give up all models, those with nothing to commit first; while the server is away, try again."""
        while self.members:
            for member in sorted(self.members.values(), key=self._finished_at):
                self._finish(member, "the fleet's process was asked to stop")
            if not is_patient:
                break
            if self.members:
                time.sleep(FIRST_PAUSE_SECONDS)


def _passing(error: BaseException) -> str | None:
    """Return in words why trying again may help; None: it would not."""
    return connection.passing_trouble(error) if isinstance(error, redis.RedisError) else None


def _code(error: BaseException) -> int:
    return int(getattr(error, "exit_code", LearnerError.exit_code))


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, LearnerError) else f"{type(error).__name__}: {error}"


def connect(url: str, most: int) -> redis.Redis:
    """Return a connection to the server, or to the cluster, for so many models."""
    return connection.client(url, block_ms=BLOCK_MS, most=CONNECTIONS * most + SPARE_CONNECTIONS)
