import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from learner.commands import COMMANDS, main
from learner.commands.fleet import DRAIN_SECONDS
from learner.commands.models import status
from learner.commands.probes import PROBE_SECONDS
from learner.service.wire import Keys

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNIT = "learner-worker@.service"


def lines(name):
    """Return the lines of a file that mean something, without indentation."""
    stripped = [line.strip() for line in (DEPLOY / name).read_text().splitlines()]
    return [line for line in stripped if line and not line.startswith("#")]


def test_the_server_keeps_everything():
    settings = lines("compose.yaml")
    for rule in ("appendonly yes", "maxmemory-policy noeviction", "dir /data", "- data:/data"):
        assert rule in settings


def test_the_server_has_a_password_that_is_in_none_of_our_files():
    settings = lines("compose.yaml")
    assert "requirepass ${VALKEY_PASSWORD}" in settings
    assert "REDIS_URL: redis://:${VALKEY_PASSWORD}@valkey:6379/0" in settings
    assert all("${VALKEY_PASSWORD" in line for line in settings if "PASS" in line or "AUTH" in line)


def test_the_worker_waits_for_a_server_that_has_loaded_its_data():
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.search(r"depends_on:\s+valkey:\s+condition: service_healthy", text)
    assert "valkey-cli ping | grep -qx PONG" in text


def test_a_second_worker_may_wait_and_one_that_was_replaced_is_started_again():
    assert not any(line.startswith("container_name") for line in lines("compose.yaml"))
    assert "Restart=on-failure" in lines(UNIT)
    assert [line for line in lines(UNIT) if line.startswith("RestartPrevent")] == ["RestartPreventExitStatus=5"]


def checked(command):
    """What a command of a probe checks, as our own program reads it."""
    program, name, *arguments = command
    assert (program, name) == ("learner", "status")
    context = main.make_context("learner", [name, *arguments])
    parameters = status.make_context("status", arguments, parent=context).params
    return parameters["check"], parameters["here"]


def test_the_health_check_is_a_probe_that_our_command_knows():
    yaml = pytest.importorskip("yaml")
    check = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert checked(check["test"][1:]) == ("live", True)
    assert int(check["timeout"].removesuffix("s")) > PROBE_SECONDS


# ---- Kubernetes ----------------------------------------------------------------------------------------------------------
KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = ["answerers.yaml", "create.yaml", "fleet.yaml", "keda.yaml", "metrics.yaml", "valkey.yaml", "worker.yaml"]
OURS = {
    "answerers.yaml": "answer",
    "create.yaml": "create",
    "fleet.yaml": "fleet",
    "worker.yaml": "worker",
}  # their commands
TO_COME = {"answer"}  # commands that need not be there yet
KEDA = json.loads((Path(__file__).parent / "keda.json").read_text(encoding="utf-8"))


def objects(name):
    """The objects of a file of Kubernetes, by kind."""
    yaml = pytest.importorskip("yaml")
    return {each["kind"]: each for each in yaml.safe_load_all((KUBERNETES / name).read_text())}


def workload(name):
    """The object of a file that has pods."""
    (found,) = (each for each in objects(name).values() if "template" in each.get("spec", {}))
    return found


def pod_of(name):
    """What the pods of a file are."""
    return workload(name)["spec"]["template"]["spec"]


def container_of(name):
    """The only container of a file's pods."""
    (container,) = pod_of(name)["containers"]
    return container


def test_every_file_of_kubernetes_is_checked_and_in_the_page():
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in KUBERNETES.iterdir()) == MANIFESTS
    assert not [name for name in MANIFESTS if f"kubernetes/{name}" not in page and f"`{name}`" not in page]


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name != "keda.yaml"])
@pytest.mark.parametrize("version", ["1.28", "1.31"])
def test_kubernetes_knows_every_field(name, version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for each in objects(name).values():
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_keda_knows_every_field():
    jsonschema = pytest.importorskip("jsonschema")  # kubernetes-validate needs it, too
    found = objects("keda.yaml")
    for kind, each in found.items():
        jsonschema.Draft202012Validator(KEDA[kind]).validate(each)
    (trigger,) = found["ScaledObject"]["spec"]["triggers"]
    fields = KEDA[trigger["type"]]
    assert set(trigger["metadata"]) <= set(fields["metadata"])
    assert {each["parameter"] for each in found["TriggerAuthentication"]["spec"]["secretTargetRef"]} <= set(
        fields["parameters"]
    )
    trigger["metadata"]["streamLength"] = 100  # a number is no text
    with pytest.raises(jsonschema.ValidationError, match="is not of type 'string'"):
        jsonschema.Draft202012Validator(KEDA["ScaledObject"]).validate(found["ScaledObject"])


def test_keda_scales_answerers_alone_by_the_questions_of_their_model():
    scaled, secret = objects("keda.yaml")["ScaledObject"], objects("keda.yaml")["TriggerAuthentication"]
    (trigger,) = scaled["spec"]["triggers"]
    assert scaled["spec"]["scaleTargetRef"] == {"name": workload("answerers.yaml")["metadata"]["name"]}
    assert trigger["metadata"]["stream"] == Keys(container_of("answerers.yaml")["args"][1]).requests
    assert "consumerGroup" not in trigger["metadata"]  # or it would be the lag, which the server often doesn't know
    assert trigger["authenticationRef"] == {"name": secret["metadata"]["name"]}


@pytest.mark.parametrize("name", [*OURS, "valkey.yaml"])
def test_pods_have_no_rights_and_a_read_only_root(name):
    pod, container = pod_of(name), container_of(name)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", OURS)
def test_the_password_comes_in_a_file_that_is_the_users_alone(name):
    pod, container = pod_of(name), container_of(name)
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert values["REDIS_URL"] is None  # but from the secret
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "password")
    (volume,) = (each["secret"] for each in pod["volumes"] if each["name"] == "password")
    assert values["REDIS_PASSWORD_FILE"] == f"{mount['mountPath']}/{volume['items'][0]['path']}"
    assert volume["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]


@pytest.mark.parametrize("name", OURS)
def test_the_pods_are_of_the_images_user_and_version(name):
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    assert f"USER {pod_of(name)['securityContext']['runAsUser']}" in lines("Dockerfile")
    assert container_of(name)["image"].endswith(f"/learner:{version}")


@pytest.mark.parametrize("name", OURS)
def test_the_pods_commands_are_ours(name):
    container = container_of(name)
    command, *words = container["args"]
    assert command == OURS[name]
    if command in TO_COME and command not in COMMANDS:
        pytest.skip(f"learner {command} is to come")
    parsed = main.get_command(None, command)
    parsed.make_context(command, [*words], click.Context(main, **main.context_settings))
    known = {option.envvar for option in parsed.params} | {"REDIS_PASSWORD_FILE"}
    assert {each["name"] for each in container["env"]} <= known


def selected(selector):
    """The names of the workloads whose pods a selector finds."""
    wanted = selector["matchLabels"].items()
    pods = {name: workload(name)["spec"]["template"]["metadata"]["labels"] for name in [*OURS, "valkey.yaml"]}
    return [name for name, labels in pods.items() if wanted <= labels.items()]


@pytest.mark.parametrize("name", ["answerers.yaml", "fleet.yaml", "valkey.yaml", "worker.yaml"])
def test_selectors_find_a_workloads_own_pods_and_no_others(name):
    spec = workload(name)["spec"]
    selectors = [
        spec["selector"],
        *(each["labelSelector"] for each in pod_of(name).get("topologySpreadConstraints", [])),
    ]
    if budget := objects(name).get("PodDisruptionBudget"):
        selectors.append(budget["spec"]["selector"])
    assert [selected(selector) for selector in selectors] == [[name]] * len(selectors)


def test_prometheus_may_reach_all_who_serve_metrics():
    policy = objects("metrics.yaml")["NetworkPolicy"]["spec"]
    assert {port["port"] for port in policy["ingress"][0]["ports"]} == {"metrics"}
    serving = [
        name for name in OURS if {"name": "metrics", "containerPort": 9100} in container_of(name).get("ports", [])
    ]
    assert selected(policy["podSelector"]) == serving == ["answerers.yaml", "fleet.yaml", "worker.yaml"]
    for name in serving:
        assert {"name": "LEARNER_METRICS", "value": "0.0.0.0:9100"} in container_of(name)["env"]


@pytest.mark.parametrize("name", ["answerers.yaml", "fleet.yaml", "worker.yaml"])
def test_probes_ask_the_pods_own_process(name):
    container = container_of(name)
    for probe in (container[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe")):
        if "exec" in probe:
            assert checked(probe["exec"]["command"]) == ("live", True)  # one that waits is fine, too
            assert probe["timeoutSeconds"] > PROBE_SECONDS
        else:
            assert probe["httpGet"]["port"] in {port["name"] for port in container["ports"]}
            assert probe["httpGet"]["path"] in ("/health", "/ready")


@pytest.mark.parametrize(
    ("name", "seconds"), [("answerers.yaml", 30), ("fleet.yaml", DRAIN_SECONDS + 5), ("worker.yaml", 30)]
)
def test_what_is_in_hand_has_its_time(name, seconds):
    assert pod_of(name)["terminationGracePeriodSeconds"] >= seconds


@pytest.mark.parametrize("name", ["answerers.yaml", "fleet.yaml", "worker.yaml"])
def test_an_update_and_a_drain_of_nodes_leave_one_of_two(name):
    spec, budget = workload(name)["spec"], objects(name)["PodDisruptionBudget"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert 1 in (budget.get("minAvailable"), budget.get("maxUnavailable"))


def test_the_last_commit_has_its_time():
    assert "KillSignal=SIGTERM" in lines(UNIT)
    assert "TimeoutStopSec=30" in lines(UNIT)
    assert any(line.startswith("stop_grace_period: 30s") for line in lines("compose.yaml"))


def test_sigterm_reaches_the_worker_and_not_a_shell():
    assert 'ENTRYPOINT ["learner"]' in lines("Dockerfile")
    assert "init: true" in "\n".join(lines("compose.yaml"))


def test_the_image_holds_compiled_loops_in_a_cache_its_user_can_write_to():
    text = "\n".join(lines("Dockerfile"))
    assert "LEARNER_CACHE=/var/cache/learner" in text
    assert "--owner=learner --mode=0700 /var/cache/learner" in text
    assert text.index("USER 10001") < text.index("RUN learner warm") < text.index("ENTRYPOINT")


def test_the_image_is_built_from_what_there_is():
    for line in lines("Dockerfile"):
        if line.startswith("COPY") and not line.startswith("COPY --from"):
            for source in line.split()[1:-1]:
                assert (DEPLOY.parent / source).exists(), line


def test_the_unit_gives_each_instance_its_own_cache():
    settings = lines(UNIT)
    assert "CacheDirectory=learner/%i" in settings
    assert "Environment=LEARNER_CACHE=%C/learner/%i PYTHONUNBUFFERED=1" in settings
    assert not any(line.startswith("MemoryDenyWriteExecute") for line in settings)  # numba couldn't compile


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    program = "/opt/learner/bin/learner"
    text = (DEPLOY / UNIT).read_text()
    assert f"ExecStart={program} worker %i\n" in text
    (tmp_path / UNIT).write_text(text.replace(program, "/bin/true"))
    command = ["systemd-analyze", "verify", str(tmp_path / UNIT)]
    verified = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (verified.returncode, verified.stdout) == (0, "")


def test_the_compose_file_is_what_it_looks_like():
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]) == {"valkey", "worker"}
    assert compose["services"]["worker"]["command"][0] == "worker"
    assert compose["services"]["valkey"]["configs"][0]["source"] in compose["configs"]
    assert [volume.split(":")[0] for volume in compose["services"]["valkey"]["volumes"]] == list(compose["volumes"])
    assert "maxmemory-policy noeviction" in compose["configs"]["valkey"]["content"].splitlines()
