"""Two replicas as deploy/compose.yml and deploy/kubernetes.yml run them. What a container or a cluster would do is not tried. All
that can be judged without one is: the form of the files, what they name, the hub's configuration in them, two processes with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from alerthub import __version__
from alerthub.app import DRAIN_SECONDS
from alerthub.cli import GRACE_SECONDS
from alerthub.config import load
from alerthub.web.health import READY_SECONDS
from tests.kit.binaries import LOCAL, wait_until
from tests.kit.deployment import DEPLOY, SECRETS, environ_for, write_secrets
from tests.kit.hub import running_hub
from tests.kit.hub_process import HubProcess
from tests.kit.postgres import fresh_database
from tests.kit.providers.http import FakeProvider
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.slack import FakeSlack
from tests.kit.served import served
from tests.kit.webhooks import alert, webhook

ROOT = DEPLOY.parent
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text(encoding="utf-8"))
KUBERNETES = {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yml").read_text(encoding="utf-8"))}
POD = KUBERNETES["Deployment"]["spec"]["template"]
(HUB,) = POD["spec"]["containers"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
NGINX = (DEPLOY / "compose" / "nginx.conf").read_text(encoding="utf-8")
REPLICAS = ("hub-1", "hub-2")
FILE_NAME = "alerthub.yml"
# The hub's file of each, and where its secrets lie there.
FILES = {"compose": ((DEPLOY / "compose" / "hub" / "alerthub.yml").read_text(encoding="utf-8"), "/run/secrets"),
         "kubernetes": (KUBERNETES["ConfigMap"]["data"]["alerthub.yml"], "/etc/alerthub/secrets")}
each_file = pytest.mark.parametrize("which", FILES)
STOP = GRACE_SECONDS + 2 * DRAIN_SECONDS        # requests end, then the loops, then what is under way


def texts(**names: dict[str, Any]) -> dict[str, Any]:
    """A mapping with these keys and no other: a key that is misspelt is found."""
    return {"type": "object", "properties": names, "additionalProperties": False}


TEXT, NUMBER, FLAG, ANY = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "object"}
WORDS = {"type": "array", "items": TEXT}
SPAN = {"type": "string", "pattern": "^[0-9]+(s|m|h)$"}
SERVICE = texts(
    image=TEXT, build=texts(context=TEXT, dockerfile=TEXT), command=WORDS, restart={"const": "unless-stopped"},
    stop_grace_period=SPAN, stop_signal=TEXT, user=TEXT, read_only=FLAG, tmpfs=WORDS, cap_drop=WORDS, security_opt=WORDS,
    mem_limit=TEXT, shm_size=TEXT, volumes=WORDS, secrets=WORDS, ports=WORDS,
    environment={"type": "object", "additionalProperties": TEXT}, depends_on={"type": ["object", "array"]},
    healthcheck=texts(test=WORDS, interval=SPAN, timeout=SPAN, retries=NUMBER, start_period=SPAN))
SERVICE["required"] = ["image", "restart", "healthcheck"]
COMPOSE_FORM = texts(**{
    "name": TEXT, "x-hub": ANY, "services": {"type": "object", "additionalProperties": SERVICE},
    "volumes": {"type": "object"}, "secrets": {"type": "object", "additionalProperties": texts(file=TEXT)}})
PROBE = texts(httpGet=texts(path=TEXT, port=TEXT), periodSeconds=NUMBER, timeoutSeconds=NUMBER, failureThreshold=NUMBER)
CONTAINER = texts(
    name=TEXT, image=TEXT, args=WORDS, env={"type": "array", "items": texts(name=TEXT, value=TEXT, valueFrom=texts(
        configMapKeyRef=texts(name=TEXT, key=TEXT)))}, ports={"type": "array", "items": texts(name=TEXT, containerPort=NUMBER)},
    lifecycle=texts(preStop=texts(exec=texts(command=WORDS))), startupProbe=PROBE, livenessProbe=PROBE, readinessProbe=PROBE,
    resources=texts(requests=texts(cpu=TEXT, memory=TEXT), limits=texts(memory=TEXT)),
    securityContext=texts(allowPrivilegeEscalation=FLAG, readOnlyRootFilesystem=FLAG, capabilities=texts(drop=WORDS)),
    volumeMounts={"type": "array", "items": texts(name=TEXT, mountPath=TEXT, subPath=TEXT, readOnly=FLAG)})
POD_FORM = texts(
    terminationGracePeriodSeconds=NUMBER, automountServiceAccountToken=FLAG, enableServiceLinks=FLAG,
    securityContext=texts(runAsNonRoot=FLAG, runAsUser=NUMBER, runAsGroup=NUMBER, fsGroup=NUMBER,
                          seccompProfile=texts(type=TEXT)),
    topologySpreadConstraints={"type": "array", "items": texts(
        maxSkew=NUMBER, topologyKey=TEXT, whenUnsatisfiable={"enum": ["ScheduleAnyway", "DoNotSchedule"]},
        labelSelector=texts(matchLabels=ANY))},
    containers={"type": "array", "items": CONTAINER}, volumes={"type": "array", "items": texts(
        name=TEXT, configMap=texts(name=TEXT, items={"type": "array", "items": texts(key=TEXT, path=TEXT)}),
        secret=texts(secretName=TEXT, defaultMode=NUMBER), emptyDir=texts(sizeLimit=TEXT))})
DEPLOYMENT_FORM = texts(
    replicas=NUMBER, revisionHistoryLimit=NUMBER, selector=texts(matchLabels=ANY),
    strategy=texts(type={"const": "RollingUpdate"}, rollingUpdate=texts(maxUnavailable=NUMBER, maxSurge=NUMBER)),
    template=texts(metadata=texts(labels=ANY), spec=POD_FORM))


def named_in(text: str, folder: str) -> set[str]:
    return set(re.findall(rf"{folder}/([\w.-]+)", text))


def written(which: str, place: Path, url: str, ping: str = "http://127.0.0.1:9/ping") -> tuple[str, dict[str, str]]:
    """The hub's file with its secrets beside it, and the environment that it asks for."""
    text, folder = FILES[which]
    secrets = write_secrets(place, {**SECRETS, "alerthub-database-url": url, "alerthub-ping-url": ping})
    environ = {**environ_for(text), "ALERTMANAGER_URL": "http://127.0.0.1:9"}
    return text.replace(folder, str(secrets)), environ


class TestTheHubsFile:
    @pytest.mark.slow
    @each_file
    def test_check_finds_nothing_wrong(self, which: str, tmp_path: Path) -> None:
        text, environ = written(which, tmp_path, "postgresql://alerthub:secret-word@postgres/alerthub")
        (tmp_path / "alerthub.yml").write_text(text)
        done = subprocess.run([sys.executable, "-m", "alerthub", "check", "--strict", "alerthub.yml"], cwd=tmp_path,
                              env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "alerthub.yml: ok\n", "")

    def test_both_are_the_same_hub(self, tmp_path: Path) -> None:
        models = []
        for which in FILES:
            (place := tmp_path / which).mkdir()
            text, environ = written(which, place, "postgresql://alerthub:secret-word@postgres/alerthub")
            (place / "alerthub.yml").write_text(text)
            told = load(place / "alerthub.yml", environ).model.model_dump(mode="json")
            models.append(re.sub(r"'[^']*/secrets/", "'secrets/", str(told)))
        assert models[0] == models[1]

    @each_file
    def test_it_tells_the_switch_outside_and_complains_through_two_channels(self, which: str) -> None:
        tree = yaml.safe_load(FILES[which][0])
        assert set(tree["server"]["ping"]) == {"url_file", "interval"}
        (route,) = [one for one in tree["route"]["routes"] if "Alerthub" in one["matchers"][0]]
        (receiver,) = [one for one in tree["receivers"] if one["name"] == route["receiver"]]
        assert len(receiver) == 3


class TestCompose:
    def test_it_has_no_key_that_compose_does_not_know(self) -> None:
        jsonschema.validate(COMPOSE, COMPOSE_FORM)

    def test_two_replicas_a_database_and_what_stands_before_them(self) -> None:
        assert set(COMPOSE["services"]) == {*REPLICAS, "proxy", "postgres"}
        first, second = ({**COMPOSE["services"][name], "ports": None} for name in REPLICAS)
        assert first == second

    def test_no_image_is_whatever_is_newest(self) -> None:
        images = [service["image"] for service in COMPOSE["services"].values()] + re.findall(r"(?m)^FROM (\S+)", DOCKERFILE)
        assert [image for image in images if not re.fullmatch(r"[a-z]+:\d[\w.-]*", image)] == []
        assert COMPOSE["services"]["hub-1"]["image"] == HUB["image"] == f"alerthub:{__version__}"

    def test_every_secret_that_is_named_is_given_and_no_other(self) -> None:
        text, folder = FILES["compose"]
        hub, postgres = (set(COMPOSE["services"][name]["secrets"]) for name in ("hub-1", "postgres"))
        assert hub == named_in(text, folder)
        assert postgres == named_in(str(COMPOSE["services"]["postgres"]["environment"]), "/run/secrets")
        assert set(COMPOSE["secrets"]) == hub | postgres
        assert all(one["file"] == f"./compose/secrets/{name}" for name, one in COMPOSE["secrets"].items())

    def test_every_variable_of_the_hubs_file_is_given_and_no_other(self) -> None:
        given = set(COMPOSE["services"]["hub-1"]["environment"]) - {"ALERTHUB_CONFIG"}
        assert given == set(environ_for(FILES["compose"][0]))

    def test_a_replica_is_not_cut_off_and_writes_nothing(self) -> None:
        hub = COMPOSE["services"]["hub-1"]
        assert int(hub["stop_grace_period"].removesuffix("s")) > STOP
        assert (hub["read_only"], hub["cap_drop"], hub["user"]) == (True, ["ALL"], "10001:10001")

    def test_nginx_knows_both_replicas_and_lets_in_what_the_hub_takes(self) -> None:
        assert re.findall(r"server (\S+):8095", NGINX) == list(REPLICAS)
        assert "client_max_body_size  32m;" in NGINX
        assert "return 30" not in NGINX     # a redirect loses alerts

    def test_nginx_asks_the_other_replica_when_one_takes_a_webhook_and_is_silent(self) -> None:
        hooks = NGINX.partition("location /hooks/")[2].partition("}")[0]
        silent, asks = (int(re.findall(rf"(?m)^ *{word} +([0-9]+)s;$", hooks)[0])
                        for word in ("proxy_read_timeout", "proxy_next_upstream_timeout"))
        assert 2 < silent < asks      # within 2 s a hub has answered

    def test_what_is_mounted_is_there_and_a_hub_sees_a_file_that_is_replaced(self) -> None:
        """Of a single file that is mounted it would go on seeing the old one."""
        mounts = {name: [volume.split(":")[:2] for volume in service.get("volumes", []) if volume.startswith(".")]
                  for name, service in COMPOSE["services"].items()}
        assert all((DEPLOY / ours).exists() for found in mounts.values() for ours, _ in found)
        for replica in REPLICAS:
            ((ours, theirs),) = mounts[replica]
            assert f"{theirs}/{FILE_NAME}" == COMPOSE["services"][replica]["environment"]["ALERTHUB_CONFIG"]
            assert [one.name for one in (DEPLOY / ours).iterdir()] == [FILE_NAME]      # and nothing else gets into the container

    def test_prometheus_is_told_of_each_replica_by_its_own_port(self) -> None:
        ports = [COMPOSE["services"][name]["ports"][0].rpartition(":")[0] for name in REPLICAS]
        head = (DEPLOY / "compose.yml").read_text(encoding="utf-8").partition("name:")[0]
        assert all(port in head for port in ports)


class TestKubernetes:
    def test_it_has_what_is_needed_and_no_key_that_kubernetes_does_not_know(self) -> None:
        assert set(KUBERNETES) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
        versions = {kind: one["apiVersion"] for kind, one in KUBERNETES.items()}
        assert versions == {"ConfigMap": "v1", "Deployment": "apps/v1", "Service": "v1", "PodDisruptionBudget": "policy/v1"}
        jsonschema.validate(KUBERNETES["Deployment"]["spec"], DEPLOYMENT_FORM)

    def test_everything_means_the_same_pods(self) -> None:
        labels = POD["metadata"]["labels"]
        spec = KUBERNETES["Deployment"]["spec"]
        selectors = [spec["selector"]["matchLabels"], KUBERNETES["Service"]["spec"]["selector"],
                     KUBERNETES["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]]
        selectors += [one["labelSelector"]["matchLabels"] for one in POD["spec"]["topologySpreadConstraints"]]
        assert selectors == [labels] * 5

    def test_there_is_never_less_than_one_replica(self) -> None:
        spec = KUBERNETES["Deployment"]["spec"]
        assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (2, {"maxUnavailable": 0, "maxSurge": 1})
        assert 1 <= KUBERNETES["PodDisruptionBudget"]["spec"]["minAvailable"] < spec["replicas"]

    def test_a_replica_is_not_cut_off(self) -> None:
        _, pause = HUB["lifecycle"]["preStop"]["exec"]["command"]
        assert POD["spec"]["terminationGracePeriodSeconds"] > STOP + int(pause)

    def test_it_runs_as_nobody_in_particular_and_writes_nothing(self) -> None:
        who = POD["spec"]["securityContext"]
        assert (who["runAsNonRoot"], POD["spec"]["automountServiceAccountToken"]) == (True, False)
        assert f"USER {who['runAsUser']}:{who['runAsGroup']}" in DOCKERFILE
        assert HUB["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}

    def test_every_secret_and_every_variable_is_given(self) -> None:
        text, folder = FILES["kubernetes"]
        head = (DEPLOY / "kubernetes.yml").read_text(encoding="utf-8").partition("apiVersion")[0]
        assert named_in(text, folder) <= set(re.findall(r"[\w-]+", head))
        taken = {one["name"]: one["valueFrom"]["configMapKeyRef"]["key"] for one in HUB["env"] if "valueFrom" in one}
        assert set(taken) == set(environ_for(text))
        assert set(taken.values()) <= set(KUBERNETES["ConfigMap"]["data"])
        mounts = {one["name"]: one["mountPath"] for one in HUB["volumeMounts"]}
        assert mounts == {"config": "/etc/alerthub/alerthub.yml", "secrets": folder, "tmp": "/tmp"}
        assert {one["name"] for one in POD["spec"]["volumes"]} == set(mounts)

    @pytest.mark.anyio
    async def test_the_probes_ask_for_what_a_hub_answers(self) -> None:
        probes = {name: HUB[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
        (port,), (door,) = HUB["ports"], KUBERNETES["Service"]["spec"]["ports"]
        assert {probe["httpGet"]["port"] for probe in probes.values()} == {port["name"], door["targetPort"]}
        assert f":{port['containerPort']}\n" in FILES["kubernetes"][0]
        assert probes["readiness"]["timeoutSeconds"] > READY_SECONDS
        async with running_hub() as hub:
            for probe in probes.values():
                assert (await hub.get(probe["httpGet"]["path"])).status_code == 200
            await hub.hub.store.write(lambda tx: tx.conn.exec_driver_sql("ALTER TABLE lanes RENAME TO gone"))
            assert (await hub.get(probes["liveness"]["httpGet"]["path"])).status_code == 200     # a restart mends no database


class TestTheImage:
    def test_what_it_is_made_of_is_there_and_reaches_the_builder(self) -> None:
        let_through = set(re.findall(r"(?m)^!(\S+)", (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")))
        copied = {name for line in re.findall(r"(?m)^COPY (?!--)(.+) \S+$", DOCKERFILE) for name in line.split()}
        assert copied == let_through
        assert all((ROOT / name).exists() for name in copied)

    def test_its_extras_exist_and_what_it_starts_is_the_hub(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for extras in re.findall(r"'[.\w]+\[([\w,]+)\]'", DOCKERFILE):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])
        assert 'ENTRYPOINT ["alerthub"]\nCMD ["serve"]' in DOCKERFILE
        assert COMPOSE["services"]["hub-1"]["command"] == HUB["args"] == ["serve"]


class Replica(HubProcess):
    """One of the services of compose.yml, as a process: its command, its file, its environment."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "alerthub", *COMPOSE["services"]["hub-1"]["command"]]


class Stage:
    """Both replicas on an empty PostgreSQL, with counterparts of Slack, PagerDuty and the switch outside."""

    def __init__(self, place: Path, url: str) -> None:
        self.slack, self.switch = FakeSlack(SECRETS["slack-bot-token"]), FakeProvider()
        self.pagerduty = FakePagerDuty(SECRETS["pagerduty-routing-key"])
        self.place, self.url = place, url
        self.replicas: list[Replica] = []

    def start(self) -> None:
        """At the same moment: both find an empty database."""
        text, environ = written("compose", self.place, self.url, f"{self.switch.url}/ping/secret-key")
        away = f'global:\n  slack_base_url: "{self.slack.base_url}"\n  pagerduty_url: "{self.pagerduty.enqueue_url}"\n'
        text = text.replace("listen: 0.0.0.0:8095", "listen: ${HUB_LISTEN}").replace("global:\n", away)
        self.replicas = [Replica(text, environ, SECRETS["alerthub-api-token"]) for _ in REPLICAS]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda replica: replica.start(), self.replicas))

    def post(self, replica: Replica, name: str) -> int:
        return post(replica, webhook(alert(name, severity="critical")))

    def told(self, name: str) -> bool:
        return any(name in str(message) for message in self.slack.posted)


def post(replica: Replica, body: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {SECRETS['alerthub-token']}"}
    return httpx.post(replica.hook(), json=body, headers=headers, timeout=10, **LOCAL).status_code


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with fresh_database() as url:
        stage = Stage(tmp_path, url)
        with served(stage.slack, stage.pagerduty, stage.switch):
            try:
                stage.start()
                yield stage
            finally:
                for replica in stage.replicas:
                    replica.close()


@pytest.mark.postgres
@pytest.mark.slow
def test_two_replicas_with_this_command_and_this_file_both_serve_and_one_goes_on_alone(stage: Stage) -> None:
    first, second = stage.replicas
    assert [stage.post(first, "DiskFull"), stage.post(second, "LinkDown")] == [200, 200]
    for replica in stage.replicas:
        assert {one["title"].split()[0].rstrip(":") for one in replica.incidents()} >= {"DiskFull", "LinkDown"}
        assert replica.metric("alerthub_database_available") == 1
    wait_until(lambda: stage.told("DiskFull") and stage.told("LinkDown"), 20, "both are told")
    wait_until(lambda: len(stage.switch.requests) >= 2, 20, "both replicas tell the switch outside")
    first.kill()
    assert stage.post(second, "AfterTheDeath") == 200
    wait_until(lambda: stage.told("AfterTheDeath"), 60, "the other one tells it")
    second.stop()
    first.start()       # as `restart: unless-stopped` would
    assert "AfterTheDeath" in str(first.incidents())
