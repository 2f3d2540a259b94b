import hashlib
import http.server
import json
import socket
import threading
import time

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError

from extract import hub
from extract.errors import RequestError
from extract.extractor_settings import ExtractorSettings
from extract.extractors import load_extractor, weights_of
from extract.networks import find_network
from extract.weights import WeightSettings, find

AUTO = WeightSettings(policy="auto")
TINY = find_network("timm:test_resnet").blueprint
REPOSITORY = "timm/test_resnet.r160_in1k"


def put_hub_at(port, monkeypatch):
    address = f"http://127.0.0.1:{port}"
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """Use the real functions with an empty cache, and an address that nobody answers at."""
    hub.answers.cache_clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "SECONDS", 0.3)
    put_hub_at(9, monkeypatch)
    yield
    hub.answers.cache_clear()


@pytest.fixture
def state():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return timm.create_model("test_resnet").state_dict()


def load(blueprint, *, settings, head):
    """Find weights and build the network with them."""
    found = find(blueprint, settings=settings, head=head)
    assert found.network is found.network
    return found


# -- a hub that does not answer ------------------------------------------------------------------------------


def test_a_hub_that_refuses_the_connection_is_not_there():
    start = time.monotonic()
    assert hub.answers() is False
    assert time.monotonic() - start < 5
    assert hub.download(REPOSITORY) is None


def test_a_hub_that_takes_the_connection_and_hangs_costs_a_bounded_time(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(5)
        put_hub_at(silent.getsockname()[1], monkeypatch)
        start = time.monotonic()
        assert hub.download(REPOSITORY) is None
        assert time.monotonic() - start < 5
        connection, _ = silent.accept()
        assert connection.recv(4) == b"HEAD"
        connection.close()


def test_a_question_that_no_timeout_reaches_costs_a_bounded_time(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(hub, "_ask", lambda: released.wait(60))
    start = time.monotonic()
    assert hub.answers() is False
    assert 0.25 < time.monotonic() - start < 3
    released.set()


def test_a_hub_that_hangs_is_asked_once_for_several_extractors(monkeypatch):
    asked, released = [], threading.Event()
    monkeypatch.setattr(hub, "_ask", lambda: asked.append(1) or released.wait(60))
    for name in ("timm:test_resnet", "timm:test_efficientnet", "timm:test_vit"):
        extractor = load_extractor(ExtractorSettings(name=name, size=160), weights=AUTO)
        assert weights_of(extractor)[0] == "random"
    assert asked == [1]
    released.set()


def test_a_hub_that_does_not_answer_is_no_excuse_for_required_weights():
    with pytest.raises(RequestError, match=rf"found none.*connect to the hub \({REPOSITORY}\)"):
        load(TINY, settings=WeightSettings(), head=False)


def test_any_error_of_the_question_means_that_the_hub_is_not_there(monkeypatch):
    def fail(*arguments, **keywords):
        raise OSError("no name server")

    monkeypatch.setattr(hub, "get_hf_file_metadata", fail)
    assert hub.answers() is False


def test_networks_without_a_repository_do_not_ask(monkeypatch):
    asked = []
    monkeypatch.setattr(hub, "_ask", lambda: bool(asked.append(1)))
    load(find_network("reactnet_a").blueprint, settings=AUTO, head=False)
    assert asked == []


def test_weights_that_were_found_before_do_not_ask(tmp_path, state, monkeypatch):
    asked = []
    monkeypatch.setattr(hub, "_ask", lambda: bool(asked.append(1)))
    safetensors.torch.save_file(state, tmp_path / "test_resnet.safetensors")
    load(TINY, settings=WeightSettings(directory=tmp_path), head=False)
    load(find_network("mobilenetv2").blueprint, settings=WeightSettings(), head=False)
    assert asked == []


# -- a hub that answers --------------------------------------------------------------------------------------


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """Let the hub hand out one file, whatever is asked for."""

    def serve(state):
        file = tmp_path / "model.safetensors"
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, file)
        monkeypatch.setattr(hub, "download", lambda repository: file)

    return serve


def test_the_hubs_file_is_loaded_whole(downloaded, state):
    downloaded(state)
    loaded = load(TINY, settings=WeightSettings(), head=True)
    assert (loaded.kind, loaded.source) == ("hub", REPOSITORY)
    got = loaded.network.state_dict()
    assert got.keys() == state.keys()
    assert all(torch.equal(got[key], state[key]) for key in state)


def test_the_pooled_tap_drops_the_head_of_the_hubs_file(downloaded, state):
    downloaded(state)
    loaded = load(TINY, settings=WeightSettings(), head=False)
    assert loaded.kind == "hub"
    assert loaded.network.state_dict().keys() == {key for key in state if not key.startswith("fc.")}


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda s: {k: v for k, v in s.items() if k != "conv1.0.weight"}, id="missing"),
        pytest.param(lambda s: {**s, "layer9.weight": torch.ones(1)}, id="left over"),
        pytest.param(lambda s: {**s, "bn1.weight": torch.ones(3)}, id="another shape"),
    ],
)
def test_a_file_from_the_hub_that_does_not_match_is_refused(downloaded, state, spoil, head):
    downloaded(spoil(state))
    with pytest.raises((RequestError, RuntimeError), match=r"state_dict|keys and shapes"):
        load(TINY, settings=AUTO, head=head)


def test_hub_weights_give_the_extractor_that_the_same_file_in_a_directory_gives(downloaded, state, tmp_path):
    downloaded(state)
    settings = ExtractorSettings(name="timm:test_resnet", size=32)
    from_hub = load_extractor(settings, weights=WeightSettings())
    (tmp_path / "model.safetensors").rename(tmp_path / "test_resnet.safetensors")
    from_directory = load_extractor(settings, weights=WeightSettings(directory=tmp_path))
    assert from_hub.fingerprint == from_directory.fingerprint


class Repository(http.server.BaseHTTPRequestHandler):
    """As much of the hub as two files need."""

    files: dict[str, bytes]
    requests: list[str]

    def log_message(self, *arguments): ...

    def do_HEAD(self):
        self._reply(body=False)

    def do_GET(self):
        self._reply(body=True)

    def _reply(self, *, body):
        self.requests.append(f"{self.command} {self.path}")
        data = self.files.get(self.path)
        self.send_response(404 if data is None else 200)
        if data is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        data = data or b""
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def server(monkeypatch, state):
    config = "/timm/mobilenetv2_100.ra_in1k/resolve/main/config.json"
    model = f"/{REPOSITORY}/resolve/main/model.safetensors"
    files = {config: json.dumps({}).encode(), model: safetensors.torch.save(state)}
    handler = type("Handler", (Repository,), {"files": files, "requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        put_hub_at(server.server_address[1], monkeypatch)
        monkeypatch.setattr(hub, "SECONDS", 5.0)
        yield handler
        server.shutdown()


def test_a_hub_that_answers_is_downloaded_from_once_and_then_read_from_the_cache(server, state):
    assert hub.cached(REPOSITORY) is None
    loaded = load(TINY, settings=WeightSettings(), head=True)
    assert (loaded.kind, loaded.source) == ("hub", REPOSITORY)
    assert torch.equal(loaded.network.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    assert hub.cached(REPOSITORY) is not None
    asked = list(server.requests)
    again = load(TINY, settings=WeightSettings(), head=True)
    assert server.requests == asked
    assert (again.kind, again.source, again.identity) == (loaded.kind, loaded.source, loaded.identity)


def test_a_hub_that_answers_without_the_file_is_not_passed_over_in_silence(server):
    blueprint = find_network("timm:test_efficientnet").blueprint
    with pytest.raises(EntryNotFoundError, match="test_efficientnet"):
        load(blueprint, settings=AUTO, head=False)
