"""A probe never hangs, and never loads what takes long."""

from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from tests.conftest import SEED


def test_a_probe_of_a_server_that_hangs_ends_by_itself_with_one_line(hanging, start):
    url, hang = hanging
    with connect(url) as client:
        Store(client, "m").create(Model("binary", seed=SEED).to_spec())
    hang()
    probes = [start(url, "status", "m", "--check", check) for check in ("live", "ready")]
    for probe, check in zip(probes, ("live", "ready"), strict=True):
        out, err = probe.communicate(timeout=30)
        assert (probe.returncode, err) == (1, "")
        assert out == f"not {check}: no answer of the server within 4 s\n"


def test_a_probe_loads_no_numpy(redis_url, create, start):
    create()
    code = "import sys; sys.argv = ['learner', 'status', 'm', '--check']; from learner.commands import main\n"
    code += "try: main()\nexcept SystemExit: print([m for m in ('numpy', 'numba', 'rich') if m in sys.modules])"
    out, err = start(redis_url, program=("-c", code)).communicate(timeout=30)
    assert out.splitlines() == ["not ready: no worker owns the model", "[]"], err
