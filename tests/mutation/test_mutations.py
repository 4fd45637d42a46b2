"""Each rule of the delivery protocol is guarded by a test: if the rule is broken, that test fails.

A mutation is one exact piece of text in one file, and the text that replaces it. It is applied to a copy of the
package; the tests named with it run on the copy and have to fail. If the text is not found exactly once, this test
fails, and the mutation has to be updated. The tests named have to be deterministic: a property-based test that only
some examples break would not always fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "anomaly_daemon"
CONFIGURATION = TESTS.parent / "pyproject.toml"
TESTS_FAILED = 1
"""pytest's exit code for failed tests. Other codes mean that it could not run them."""

CRASH = "crash/test_crash.py::test_one_death_at_each_call_there_is"
REAL = "crash/test_crash_real.py"
SUCCESSION = "crash/test_succession.py"
HEARING = "crash/test_hearing.py"
TAKE_OVER = "unit/test_worker_takeover.py"
REBALANCE = "unit/test_worker_rebalance.py"
DELIVERY = "integration/test_kafka_delivery.py"


@dataclass(frozen=True)
class Mutation:
    rule: str
    """The rule that the mutation breaks."""
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]


MUTATIONS = [
    Mutation(
        "episodes are part of the state that is stored",
        "detection/detector.py",
        '        arrays: dict[str, npt.NDArray[np.generic]] = {"carried": rows.carried_BP',
        '        rows["episode_open"] = 0.0\n'
        '        arrays: dict[str, npt.NDArray[np.generic]] = {"carried": rows.carried_BP',
        (REAL,),
    ),
    Mutation(
        "a dirty bucket's floor stays where it was stored",
        "daemon/partition.py",
        "behind, now = self.dirty.difference(written)",
        "behind, now = set[int]()",
        (CRASH,),
    ),
    Mutation(
        "a bucket changed since the last look is dirty",
        "daemon/partition.py",
        "        self.note_changes()  # or a bucket changed since the last look would pass for clean\n",
        "",
        (TAKE_OVER, "-k", "old_rules"),
    ),
    Mutation(
        "another model takes over where nothing is pending",
        "daemon/partition.py",
        "self.live and not pending and self.position == self.committed",
        "self.live",
        (SUCCESSION, "-k", "waits_while"),
    ),
    Mutation(
        "what feedback changes is stored before the next record",
        "daemon/feedback.py",
        "                self._commit(owned, changed)\n",
        "                pass\n",
        (HEARING, "-k", "one_death and True-known2"),
    ),
    Mutation(
        "a stream that comes after what was said of it hears it",
        "daemon/feedback.py",
        "for stream in labelled.union(looked_for) if",
        "for stream in labelled if",
        (HEARING, "-k", "comes_after"),
    ),
    Mutation(
        "another model takes over past the change before",
        "daemon/partition.py",
        " and self.position > self.regimes[-1].since",
        "",
        (SUCCESSION, "-k", "waits_for"),
    ),
    Mutation(
        "the ledger names the model that took over",
        "daemon/partition.py",
        "        self.regimes.append(replace(regime, since=self.position))\n",
        "",
        (SUCCESSION, "-k", "ledger_names"),
    ),
    Mutation(
        "what is told of a model's state is rebuilt before it is stored",
        "detection/detector.py",
        "        rebuild(self, row_B)\n        rows = self.slab.gather(row_B)\n        arrays",
        "        rows = self.slab.gather(row_B)\n        arrays",
        ("unit/detection/test_changeover.py",),
    ),
    Mutation(
        "a slab that changes hands leaves the states of the other network behind",
        "detection/changeover.py",
        "                rows[name] = 0.0  # of",
        "                rows[name] *= 1.0  # of",
        ("unit/detection/test_changeover.py",),
    ),
    Mutation(
        "a challenger is promoted only over the champion that it was held against",
        "commands/challenger.py",
        ' == "by_gate" and stands\n',
        ' == "by_gate"\n',
        ("unit/test_requests.py",),
    ),
    Mutation(
        "a request that was made twice has one answer",
        "training/requests.py",
        "        if queue.answered(request.id):\n",
        "        if not request.id:\n",
        ("unit/test_requests.py",),
    ),
    Mutation(
        "nothing is told below the committed position",
        "daemon/intake.py",
        "(self._detect if owned.live else self._replay)(owned, part)",
        "self._detect(owned, part)",
        (CRASH,),
    ),
    Mutation(
        "what is told begins at the committed position",
        "daemon/intake.py",
        "        places = () if owned.live else {owned.committed, *(regime.since for regime, _ in owned.ahead)}\n",
        "        places = set[int]()\n",
        ("crash/test_crash.py", "-k", "reach_past"),
    ),
    Mutation(
        "records below a bucket's floor are not taken twice",
        "daemon/regimes.py",
        "stage.floors = np.asarray(taken.floors, np.int64)",
        "stage.floors = None",
        (CRASH,),
    ),
    Mutation(
        "snapshots are read after the committed offset",
        "daemon/restoring.py",
        """        committed = self._source.committed(partition)
        start = self._source.start_offset(partition) if committed is None else committed
        stored = self._store.load(partition) if self._store else None
""",
        """        stored = self._store.load(partition) if self._store else None
        committed = self._source.committed(partition)
        start = self._source.start_offset(partition) if committed is None else committed
""",
        (TAKE_OVER,),
    ),
    Mutation(
        "the replay begins at the event time it had",
        "daemon/regimes.py",
        "    stages[0].watermark = taken.watermark\n",
        "",
        (REAL, "-k", "event_time"),
    ),
    Mutation(
        "a replay goes by what was in force",
        "daemon/takeover.py",
        "    same = ledger.regimes[-1].same(ours)\n",
        "    same = True\n",
        (TAKE_OVER, "-k", "old_rules"),
    ),
    Mutation(
        "a regime is remembered as long as a bucket may stand at its end",
        "daemon/partition.py",
        "ended = sum(later.since < lowest for later in regimes[1:])",
        "ended = len(regimes) - 1",
        (TAKE_OVER, "-k", "another_model"),
    ),
    Mutation(
        "a hand-over makes what is pending visible first",
        "daemon/membership.py",
        "            self._flush([owned for owned in leaving if owned.live])\n",
        "            pass\n",
        (REBALANCE,),
    ),
    Mutation(
        "who is refused, and drops what it held, lets the source start over",
        "daemon/worker.py",
        "            self._source.start_over()\n",
        "",
        (REBALANCE,),
    ),
    Mutation(
        "time in which a partition's end was not heard is no silence",
        "daemon/idleness.py",
        "                tracked.doubtful = True\n",
        "                pass\n",
        ("unit/test_idleness.py",),
    ),
    Mutation(
        "an alert that the clock raised is committed with the state that raised it",
        "daemon/worker.py",
        "owned.forced = owned.forced or bool(alerts)",
        "owned.forced = False",
        ("unit/test_worker_alarms.py",),
    ),
    Mutation(
        "what is held back stays so after a crash",
        "daemon/partition.py",
        "            self.held,\n            unreported,\n",
        "            (),\n            unreported,\n",
        ("unit/test_worker_alarms.py", "unit/test_cap.py"),
    ),
    Mutation(
        "a commit that fails is the same commit at the next attempt",
        "daemon/committer.py",
        "partial(self._attempt, prepared.commit, prepared.made)",
        "lambda: self._attempt(prepare(mine, {}, self._outbox, snapshots=False, digest=False).commit)",
        ("unit/test_worker.py", "unit/test_worker_rebalance.py"),
    ),
    Mutation(
        "without transactions the newest whole version of a bucket is never written over",
        "daemon/partition.py",
        "return 0 if self.atomic else 1 - slot, turn + 1",
        "return 0, turn + 1",
        ("crash/test_at_least_once.py", "-k", "turns"),
    ),
]

ON_KAFKA = [
    Mutation(
        "the transaction is committed after its offsets were sent",
        "transport/kafka/delivery.py",
        """        self._before("positions")
        self._send_positions(commit, token)
        acknowledged(sent, self._deadline)
        self._before("commit")
        self._producer.commit_transaction()
""",
        """        self._before("positions")
        self._producer.commit_transaction()
        self._before("commit")
        self._producer.begin_transaction()
        self._send_positions(commit, token)
        self._producer.commit_transaction()
""",
        (DELIVERY, "-k", "death"),
    ),
    Mutation(
        "the group's membership is checked before the offsets are sent",
        "transport/kafka/source.py",
        "        if now.generation_id < 0 or now.member_id != self._member_id:\n",
        "        if False:\n",
        ("integration/test_kafka_source.py", "-k", "put_out or replaced or lost"),
    ),
    Mutation(
        "offsets carry the generation of now, not one remembered from the poll",
        "transport/kafka/source.py",
        "        now = self._consumer.group_metadata()\n        if now.generation_id",
        '        now = self.__dict__.setdefault("_old", self._consumer.group_metadata())\n        if now.generation_id',
        ("integration/test_kafka_source.py", "-k", "group_moves_on or take_over or takes_over"),
    ),
    Mutation(
        "a restore reads to the high watermark",
        "transport/kafka/snapshots.py",
        "isolation_level=IsolationLevel.READ_UNCOMMITTED",
        "isolation_level=IsolationLevel.READ_COMMITTED",
        (DELIVERY, "-k", "restore or snapshot"),
    ),
    Mutation(
        "without transactions alerts are acknowledged before the offsets are committed",
        "transport/kafka/plain_delivery.py",
        '            self._before("positions")\n            self._commit_positions(commit)\n',
        '            self._before("positions")\n',
        ("integration/test_kafka_plain_delivery.py", "-k", "death or visible"),
    ),
    Mutation(
        "an alert that went ahead is awaited, and sent again where it did not arrive, before the offsets are committed",
        "transport/kafka/plain_delivery.py",
        "sent = [self._resent_if_failed(one) for one in commit.ahead]",
        "sent: list[Sent] = []",
        ("integration/test_kafka_plain_delivery.py", "-k", "went_ahead"),
    ),
]


def broken(mutation: Mutation, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests of a mutation on a copy of the package that contains it."""
    file, was = mutated(mutation, folder), PACKAGE / mutation.file
    chosen = [str(TESTS / name) if "/" in name else name for name in mutation.tests]
    options = ["-p", "no:cacheprovider", "-c", str(CONFIGURATION), "-o", f"pythonpath={folder}"]
    places = [folder]
    if "@compiled" not in was.read_text(encoding="utf-8"):
        places.append(Path(__file__).parent)
        options += ["-p", "kept_code"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, places)),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        "MUTATED_FOLDER": str(file.parent),
        "FOLDER_AS_IT_WAS": str(was.parent),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", *options, *chosen]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=170)


def mutated(mutation: Mutation, folder: Path) -> Path:
    """Return the mutated file in a copy of the package. The cached bytecode of the other files is copied too."""
    made_of_it = f"{Path(mutation.file).stem}.*.pyc"
    being_written = "*.pyc.*"
    ignored = shutil.ignore_patterns(made_of_it, being_written)
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=ignored)
    file = folder / PACKAGE.name / mutation.file
    source = file.read_text(encoding="utf-8")
    assert source.count(mutation.text) == 1, f"{mutation.file} has changed: bring this mutation up to date"
    file.write_text(source.replace(mutation.text, mutation.instead), encoding="utf-8")
    return file


def assert_noticed(mutation: Mutation, folder: Path) -> None:
    run = broken(mutation, folder)
    assert run.returncode == TESTS_FAILED, f"nobody notices that this is broken: {mutation.rule}\n{run.stdout[-2000:]}"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.rule)
def test_a_broken_rule_is_noticed(mutation: Mutation, tmp_path: Path) -> None:
    assert_noticed(mutation, tmp_path)


@pytest.mark.kafka
@pytest.mark.parametrize("mutation", ON_KAFKA, ids=lambda one: one.rule)
def test_a_broken_rule_is_noticed_on_kafka(
    mutation: Mutation, tmp_path: Path, kafka_broker: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_broker.bootstrap)  # type: ignore[attr-defined]
    assert_noticed(mutation, tmp_path)
