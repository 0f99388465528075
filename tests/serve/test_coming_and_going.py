"""Prompts that come, change and go while a server runs: watched folders, admin calls, replicas that share a prompt root."""

import errno
import json
import os
import shutil
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.serve import root as roots
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.root import PromptRoot, folders_of
from cpeft.serve.watch import RootAdmin, Watcher

ROW = {"text": "w1 w2 w3"}
ADMIN = {"authorization": "Bearer boss"}
FOLDERS = int(os.environ.get("CPEFT_BROKEN_FOLDERS", "60"))


def wait_for(true, limit_s=2.0):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.02)


@pytest.fixture
def folder(shops, tmp_path):
    """A prompt root with the prompts of the shop in it."""
    for name in ("a", "b", "mix"):
        shutil.copytree(shops["t5"].model.parent / name, tmp_path / "root" / "new" / name)
    return tmp_path / "root"


@pytest.fixture
def replica(serving, loaded, shops):
    """Servers that share a prompt root, or watch a folder."""

    @contextmanager
    def start(root=None, watch=None):
        lm, prompts = loaded["t5"]
        catalogue = Catalogue(lm, {"say": prompts["say"]})
        root = PromptRoot(root) if root else None
        sources = {"root": root.folders} if root else {"watch": lambda: folders_of(watch)}
        watcher = Watcher(catalogue, sources, shops["t5"].tasks[:2])
        watcher.look()
        admin = {"admin_keys": ["boss"], "admin": RootAdmin(root, watcher)} if root else {}
        with serving(catalogue=catalogue, background=[watcher], **admin) as running:
            yield running

    return start


def names(client):
    return {model["id"] for model in client.models()} - {"model", "say"}


def test_a_watched_folder(replica, shops, tmp_path, caplog):
    watched, source = tmp_path / "watched", shops["t5"].model.parent
    watched.mkdir()
    with replica(watch=watched) as running, running.client() as client:
        assert names(client) == set()
        shutil.copytree(source / "a", watched / "team" / "one")
        wait_for(lambda: names(client) == {"team/one"})
        [before] = client.predict("team/one", [ROW])
        weights = watched / "team" / "one" / "adapter_model.safetensors"
        weights.write_bytes(b"nothing")  # the old one stays
        wait_for(lambda: "'team/one' is not replaced" in caplog.text)
        assert client.predict("team/one", [ROW])[0].probabilities == pytest.approx(before.probabilities)
        shutil.copyfile(source / "b" / "adapter_model.safetensors", weights)
        wait_for(lambda: client.predict("team/one", [ROW])[0].probabilities != pytest.approx(before.probabilities))
        shutil.rmtree(watched / "team")
        wait_for(lambda: names(client) == set())


def test_posting_versions_and_setting_them_back(replica, folder):
    with replica(root=folder) as running, running.client() as client, httpx.Client(base_url=running.url) as http:

        def post(**body):
            return http.post("/v1/prompts", json=body, headers=ADMIN)

        first = post(name="mood", folder="new/a")
        assert first.status_code == 201, first.text
        [one] = client.predict("mood", [ROW])
        second = post(name="mood", folder="new/b").json()
        [two] = client.predict("mood", [ROW])
        assert one.probabilities != pytest.approx(two.probabilities)
        old, new = first.json()["version"], second["version"]
        assert second["versions"] == [new, old]
        assert client.predict(f"mood@{old}", [ROW])[0].probabilities == pytest.approx(one.probabilities)
        back = post(name="mood", version=old)
        assert (back.status_code, back.json()["generation"]) == (201, first_generation(http))
        assert client.predict("mood", [ROW])[0].probabilities == pytest.approx(one.probabilities)
        [model] = [model for model in client.models() if model["id"] == "mood"]
        assert set(model["versions"]) == {old, new}
        assert post(name="both", folder="new/mix").status_code == 201  # a run that mixes prompts
        assert client.predict("both", [ROW])[0].attention
        assert http.delete("/v1/prompts/mood", headers=ADMIN).status_code == 200
        assert http.delete("/v1/prompts/mood", headers=ADMIN).status_code == 404
        assert names(client) == {"both"}
        assert post(name="mood", version=new).status_code == 201  # its versions stay
    assert not [path for path in (folder / ".served").iterdir() if path.name.startswith(".")]


def first_generation(http):
    return http.get("/ready").json()["generation"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"name": "mood", "folder": "../elsewhere"}, 400, "no folder '../elsewhere' below the prompt root"),
        ({"name": "mood", "folder": "/etc"}, 400, "no folder"),
        ({"name": "mood", "folder": ".served"}, 400, "no folder"),
        ({"name": "mood", "folder": "new"}, 400, "neither a prompt nor a run"),
        ({"name": "mood", "folder": "new/broken"}, 400, ""),
        ({"name": "say", "folder": "new/a"}, 400, "was started with a prompt 'say'"),
        ({"name": "mood", "version": "0" * 16}, 400, "has no version"),
        ({"name": "mood"}, 400, "either folder or version"),
        ({"name": "../mood", "folder": "new/a"}, 400, "name"),
        ({"name": "mood", "folder": "new/a", "weights": [1]}, 400, "weights"),
    ],
)
def test_what_is_refused_changes_nothing(replica, folder, body, status, message):
    shutil.copytree(folder / "new" / "a", folder / "new" / "broken")
    prompt = SoftPrompt.load(folder / "new" / "a")
    bad = prompt.weight.clone()
    bad[0, 0] = float("nan")
    (folder / "new" / "broken" / "adapter_model.safetensors").write_bytes(roots_bytes(bad))
    with replica(root=folder) as running, httpx.Client(base_url=running.url) as http:
        before = first_generation(http)
        found = http.post("/v1/prompts", json=body, headers=ADMIN)
        assert (found.status_code, message in found.json()["error"]["message"]) == (status, True), found.text
        assert str(folder) not in found.text
        assert first_generation(http) == before
        assert not [path for path in (folder / ".served").glob("*") if path.name.startswith(".")]


def roots_bytes(weight):
    from safetensors.torch import save

    return save({"prompt_embeddings": weight})


def test_admin_calls_need_a_key_of_their_own(replica, folder, serving):
    body = {"name": "mood", "folder": "new/a"}
    with replica(root=folder) as running, httpx.Client(base_url=running.url) as http:
        assert http.post("/v1/prompts", json=body).status_code == 401
        assert http.post("/v1/prompts", json=body, headers={"authorization": "Bearer other"}).status_code == 401
        assert http.delete("/v1/prompts/say").status_code == 401
    with serving() as running, httpx.Client(base_url=running.url) as http:
        found = http.post("/v1/prompts", json=body, headers=ADMIN)
        assert (found.status_code, "--admin-key-file" in found.text) == (403, True)


def test_a_full_disk_changes_nothing(replica, folder, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with replica(root=folder) as running, httpx.Client(base_url=running.url) as http:
        monkeypatch.setattr(roots.shutil, "copyfile", full)
        found = http.post("/v1/prompts", json={"name": "mood", "folder": "new/a"}, headers=ADMIN)
        assert (found.status_code, "disk" in found.text) == (507, True)
        monkeypatch.undo()
        assert not list((folder / ".served").glob("*"))
        assert http.post("/v1/prompts", json={"name": "mood", "folder": "new/a"}, headers=ADMIN).status_code == 201


def test_posted_to_one_replica_answered_by_all(replica, folder):
    with (
        replica(root=folder) as one,
        replica(root=folder) as two,
        one.client() as client,
        two.client() as other,
        httpx.Client(base_url=one.url) as http,
    ):
        posted = http.post("/v1/prompts", json={"name": "mood", "folder": "new/a"}, headers=ADMIN).json()
        wait_for(lambda: "mood" in names(other))
        [first], [second] = client.predict("mood", [ROW]), other.predict("mood", [ROW])
        assert first.probabilities == pytest.approx(second.probabilities)
        assert httpx.get(f"{two.url}/ready").json()["generation"] == posted["generation"]
        http.delete("/v1/prompts/mood", headers=ADMIN)
        wait_for(lambda: "mood" not in names(other))


def test_requests_under_way_keep_the_prompt_they_began_with(replica, folder, held):
    with replica(root=folder) as running, running.client() as client, httpx.Client(base_url=running.url) as http:
        post = {"name": "mood", "folder": "new/a"}
        assert http.post("/v1/prompts", json=post, headers=ADMIN).status_code == 201
        found = []
        asking = threading.Thread(target=lambda: found.extend(client.predict("mood", [ROW])))
        asking.start()
        wait_for(lambda: held.seen)
        http.post("/v1/prompts", json=post | {"folder": "new/b"}, headers=ADMIN)
        http.delete("/v1/prompts/mood", headers=ADMIN)
        http.post("/v1/prompts", json={"name": "old", "folder": "new/a"}, headers=ADMIN)
        held.set()
        asking.join(20)
        assert found[0].probabilities == pytest.approx(client.predict("old", [ROW])[0].probabilities)
        assert json.loads(http.get("/ready").text)["status"] == "ready"


def test_broken_folders_are_served_or_refused_and_nothing_else(replica, folder):
    """Files of a prompt and of a run with bytes changed, cut, doubled or gone: never an internal error."""
    rng = np.random.default_rng(0)
    with replica(root=folder) as running, httpx.Client(base_url=running.url) as http:
        statuses = []
        for number in range(FOLDERS):
            source, place = folder / "new" / ("mix" if number % 3 == 0 else "a"), folder / "new" / f"broken{number}"
            shutil.copytree(source, place)
            files = [path for path in sorted(place.rglob("*")) if path.is_file()]
            spoil(files[int(rng.integers(len(files)))], rng)
            found = http.post("/v1/prompts", json={"name": "mood", "folder": f"new/broken{number}"}, headers=ADMIN)
            statuses.append(found.status_code)
            assert found.status_code in (201, 400), (number, found.text)
            assert str(folder) not in found.text
        assert {201, 400} == set(statuses)
        assert http.post("/v1/predict", json={"prompt": "mood", "rows": [ROW]}).status_code == 200


def spoil(path, rng):
    """Change one file in one of several ways."""
    content = bytearray(path.read_bytes())
    way = rng.integers(5)
    if way == 0:
        path.unlink()
    elif way == 1:
        path.write_bytes(content[: int(rng.integers(len(content) + 1))])
    elif way == 2:
        path.write_bytes(content + content)
    else:
        for place in rng.integers(len(content), size=int(rng.integers(1, 20))):
            content[place] = rng.integers(256)
        path.write_bytes(content)
