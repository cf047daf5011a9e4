"""Wild requests at every address of the dashboard and of a lab's service: no answer is a server error."""

from __future__ import annotations

import gc
import json
import threading
import time

import pytest
import uvicorn

from aarlab.server.app import create_app
from aarlab.server.lab import Lab
from dashboard_site import served
from recorded_lab import make

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

TOKEN = "operator-of-the-test"
SETTINGS = hypothesis.settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("labs")
    make(root / "recorded", submissions=20, posts=10)
    with served(root, [(TOKEN, "operator")]) as found:
        yield found


@pytest.fixture(scope="module")
def dashboard(site):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(f"{site.address}/openapi.json", headers=headers)
    # live updates go on for ever, and a start makes runs: both have tests of their own
    return schema.exclude(path_regex="/live$").exclude(method="POST", path="/labs")


def quiet_collector():
    """Hypothesis measures garbage collections, and with that CPython 3.11 misreads source when several threads do
    (see aarlab.syntax): the served site's and Hypothesis's own. Set once, at the first test, it does not come back."""

    @hypothesis.given(hypothesis.strategies.none())
    def first(nothing):
        assert nothing is None

    first()
    gc.callbacks.clear()


def wild(schema, address, spoil=lambda case: None, token=TOKEN):
    """Ask every operation of an interface a few wild things; (operations, answers by status)."""
    quiet_collector()
    operations, statuses = 0, {}
    for result in schema.get_all_operations():
        operations += 1

        @SETTINGS
        @hypothesis.given(case=result.ok().as_strategy())
        def ask(case):
            spoil(case)
            answer = case.call(headers={"Authorization": f"Bearer {token}", "Origin": address}, timeout=30)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, f"{case.formatted_path}: {answer.status_code} {answer.text[:300]}"

        ask()
    return operations, statuses


def test_no_request_makes_the_dashboard_fail(dashboard, site):
    """Half of the requests are about a lab that is there."""

    def real_lab(case):
        if "lab" in (case.path_parameters or {}) and len(str(case.path_parameters["lab"])) % 2:
            case.path_parameters["lab"] = "recorded"

    operations, statuses = wild(dashboard, site.address, real_lab)
    assert operations > 15
    assert statuses.get(200, 0) > 10


@pytest.fixture
def service(tmp_path):
    """A lab's own service on TCP, without its scorer; its address and the operator's token."""
    folder = make(tmp_path / "lab", submissions=10, posts=5)
    lab = Lab(folder)
    config = uvicorn.Config(create_app(lab), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", json.loads((folder / "run" / "tokens.json").read_text())["operator"]
    server.should_exit = True
    thread.join(10)
    lab.close()


def test_no_request_makes_a_lab_service_fail(service):
    """The same for the interface that researchers and operators have."""
    address, token = service
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations, statuses = wild(schema, address, token=token)
    assert operations > 20
    assert statuses.get(200, 0) > 10
