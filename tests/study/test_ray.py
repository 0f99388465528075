"""Workers as tasks of a real Ray cluster of two nodes."""

import os
import signal

import pytest

from cpeft.store.run_folder import Store
from launched import LIMIT_S, at_work, kill_a_worker, outcome_of, wait_until
from tiny import SRC

pytest.importorskip("ray", reason="ray is not installed (extra `ray`)")
pytestmark = pytest.mark.slow

WORKERS = ("--launcher", "ray", "launcher.ray.workers=2")
MEMORY = 100 * 2**20  # bytes of each node's object store, which workers leave empty


@pytest.fixture(scope="module")
def nodes():
    """The environment of a running cluster: two nodes that hold one worker each."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    handler = signal.getsignal(signal.SIGTERM)  # a cluster puts its own in the place of the tests'
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (SRC, before)))  # of the nodes' own workers
    node = {"num_cpus": 1, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes(timeout=60)
        yield {"RAY_ADDRESS": cluster.address}
    finally:
        cluster.shutdown()
        signal.signal(signal.SIGTERM, handler)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def test_a_worker_killed_in_the_middle_changes_nothing(nodes, world, alone, longer, tmp_path, start):
    """Ray starts it again, and it goes on where it was."""
    store = tmp_path / "store"
    process = start(tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, *WORKERS, **nodes)
    kill_a_worker(store, process)
    assert process.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    assert not list(store.rglob("claim.json"))
    said = [(store / f"ray-{i}.log").read_text() for i in range(2)]
    assert all("of 16 runs done" in text for text in said), (
        "one was killed at work, the other may have done all the rest"
    )
    assert sum(text.count("done targets/") for text in said) == 12


def test_a_signal_saves_and_leaves_with_four(nodes, world, alone, longer, tmp_path, start):
    store = tmp_path / "store"
    arguments = ("run", world / "study.toml", *longer, "--store", store)
    process = start(tmp_path / "out", *arguments, *WORKERS, **nodes)
    wait_until(lambda: at_work(store, process.pid), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 4, (tmp_path / "out").read_text()
    assert "re-run the same command to resume" in (tmp_path / "out").read_text()
    assert not list(store.rglob("claim.json"))
    assert sum(run.done for run in Store(store).runs()) < 16  # it stopped in the middle
    assert start(tmp_path / "out", *arguments).wait(LIMIT_S) == 0
    assert outcome_of(store) == alone
