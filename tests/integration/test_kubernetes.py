"""deploy/kubernetes builds into objects that Kubernetes accepts, that fit each other, and that fit the worker."""

import re
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

from consumer.errors import BundleError, UsageError
from consumer.tools.check.command import add_arguments
from consumer.usage import Parser
from tests.integration.custom_resources import CUSTOM
from tests.integration.kubernetes_objects import (
    KUBERNETES,
    OVERLAYS,
    Object,
    build_over,
    config_map,
    container,
    environment,
    mounts,
    one,
    overlay,
    pod,
    settings_file,
    worker_settings,
    workload,
)

DEPLOY = KUBERNETES.parent
COMMON = {"ServiceAccount", "ConfigMap", "NetworkPolicy"}
KINDS = {
    "production": COMMON | {"Deployment", "PodDisruptionBudget", "PodMonitor"},
    "autoscaled": COMMON | {"Deployment", "PodDisruptionBudget", "PodMonitor", "ScaledObject", "TriggerAuthentication"},
    "static": COMMON | {"StatefulSet", "Service", "PodDisruptionBudget", "PodMonitor"},
    "drain": COMMON | {"Job"},
    "check": COMMON | {"Job"},
}
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


@every_overlay
def test_kubernetes_accepts_what_each_overlay_builds(name: str) -> None:
    """Each object follows the schema of its kind, and none is missing."""
    objects = overlay(name)
    assert {each["kind"] for each in objects} == KINDS[name]
    for each in objects:
        if each["kind"] in CUSTOM:
            CUSTOM[each["kind"]].model_validate(each)
        else:
            kubernetes_validate.validate(each, "1.37", strict=True)


def test_every_component_is_part_of_an_overlay() -> None:
    """No component stays unbuilt."""
    used = re.findall(r"components/([\w-]+)", "".join(p.read_text() for p in KUBERNETES.glob("overlays/*/kust*.yaml")))
    assert sorted(used) == sorted(path.name for path in (KUBERNETES / "components").iterdir())


@every_overlay
def test_pods_meet_the_restricted_standard(name: str) -> None:
    """No root, no token, no capabilities, nothing to write to but /tmp, a pinned image."""
    objects, worker = overlay(name), container(overlay(name))
    spec, context = pod(objects), pod(objects)["securityContext"]
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "docker/Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert context["runAsUser"] > 0
    assert context["fsGroup"] == context["runAsGroup"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (
        spec["automountServiceAccountToken"] is one(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    )
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    writable = {m["mountPath"] for m in worker["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp"}
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} == {
        "emptyDir",
        "configMap",
        "secret",
    }
    assert re.search(r"@sha256:[0-9a-f]{64}$", worker["image"])


def test_an_overlay_sets_the_image(tmp_path: Path) -> None:
    """`images` replaces the placeholder, so that only the digest that was asked for runs."""
    name, digest = "registry.example.com/review-consumer", f"sha256:{'ab' * 32}"
    assert container(overlay("production"))["image"] == f"{name}@sha256:{'0' * 64}"
    images = [{"name": name, "newName": "ghcr.io/me/worker", "digest": digest}]
    objects = build_over(tmp_path, "overlays/production", images=images)
    assert container(objects)["image"] == f"ghcr.io/me/worker@{digest}"


def test_a_drain_job_retries_what_a_retry_can_fix() -> None:
    """It drains; settings and bundles that are refused fail it at once; no controller of the workers takes its pods."""
    objects = overlay("drain")
    job, (fail, ignore) = workload(objects)["spec"], workload(objects)["spec"]["podFailurePolicy"]["rules"]
    assert container(objects)["args"] == ["run", "--drain"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    codes = [UsageError.exit_code, BundleError.exit_code]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", codes)
    assert fail["onExitCodes"]["containerName"] == container(objects)["name"]
    assert (ignore["action"], ignore["onPodConditions"]) == ("Ignore", [{"type": "DisruptionTarget"}])
    labels = job["template"]["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        wanted = one(overlay("production"), kind)["spec"]["selector"]["matchLabels"]
        assert not wanted.items() <= labels.items()


def test_a_check_job_fails_once_and_compares_the_replicas() -> None:
    """Strict, for as many workers as the Deployment has, and never tried again; it is none of the workers' pods."""
    objects = overlay("check")
    job = workload(objects)["spec"]
    replicas = workload(overlay("production"))["spec"]["replicas"]
    assert container(objects)["args"] == ["check", "--strict", "--workers", str(replicas)]
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")
    wanted = one(overlay("production"), "Deployment")["spec"]["selector"]["matchLabels"]
    assert not wanted.items() <= job["template"]["metadata"]["labels"].items()
    parsed = Parser()
    add_arguments(parsed)
    assert parsed.parse_args(container(objects)["args"][1:]).workers == replicas


@every_overlay
def test_the_network_policy_lets_only_kafka_dns_and_prometheus_through(name: str) -> None:
    """Every rule names both a peer and a port: the brokers, DNS, and from the monitoring namespace the metrics port."""
    policy = one(overlay(name), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (scrape,) = policy["ingress"]
    assert scrape["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert [port["port"] for port in scrape["ports"]] == [container(overlay(name))["ports"][0]["containerPort"]]
    dns, kafka = policy["egress"]
    servers = settings_file(overlay(name))["bootstrap_servers"].split(",")
    assert {port["port"] for port in kafka["ports"]} == {int(server.rpartition(":")[2]) for server in servers}
    assert {port["port"] for port in dns["ports"]} == {53}
    assert all(rule["to"] and all(rule["to"]) for rule in (dns, kafka))


@every_overlay
def test_ports_are_the_same_everywhere(name: str) -> None:
    """Image, container, probes, Service and monitor agree on the metrics port."""
    objects = overlay(name)
    (port,) = container(objects)["ports"]
    dockerfile = (DEPLOY / "docker/Dockerfile").read_text()
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile
    assert f"REVIEWS_METRICS_PORT={port['containerPort']}\n" in dockerfile
    services = [each["spec"]["ports"][0] for each in objects if each["kind"] == "Service"]
    assert all(
        (service["port"], service["targetPort"]) == (port["containerPort"], port["name"]) for service in services
    )
    monitors = [each["spec"]["podMetricsEndpoints"][0] for each in objects if each["kind"] == "PodMonitor"]
    assert all((each["port"], each["path"]) == (port["name"], "/metrics") for each in monitors)


def _selectors(objects: list[Object]) -> Iterator[dict[str, str]]:
    for each in objects:
        spec = each.get("spec", {})
        if selector := spec.get("selector", spec.get("podSelector")):
            yield selector.get("matchLabels", selector)
    for constraint in pod(objects)["topologySpreadConstraints"]:
        yield constraint["labelSelector"]["matchLabels"]


def _references(objects: list[Object]) -> Iterator[tuple[str, str]]:
    """Kind and name of each object that another one refers to."""
    yield "ServiceAccount", pod(objects)["serviceAccountName"]
    for volume in pod(objects)["volumes"]:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
    for each in objects:
        if each["kind"] == "ScaledObject":
            yield each["spec"]["scaleTargetRef"]["kind"], each["spec"]["scaleTargetRef"]["name"]
            yield "TriggerAuthentication", each["spec"]["triggers"][0]["authenticationRef"]["name"]
        if each["kind"] == "TriggerAuthentication":
            yield "ConfigMap", each["spec"]["configMapTargetRef"][0]["name"]
        if each["kind"] == "StatefulSet":
            yield "Service", each["spec"]["serviceName"]


@pytest.mark.parametrize("prefix", ["", "eu-"])
@pytest.mark.parametrize(
    "names", [*((f"overlays/{name}",) for name in OVERLAYS), ("overlays/static", "components/keda")]
)
def test_objects_find_each_other(names: tuple[str, ...], prefix: str, tmp_path: Path) -> None:
    """Selectors select the pods and references lead to objects, also under another name and namespace."""
    objects = build_over(tmp_path, *names, namePrefix=prefix, namespace="reviews")
    labels = workload(objects)["spec"]["template"]["metadata"]["labels"]
    selectors = list(_selectors(objects))
    assert len(selectors) >= 3
    assert all(selector.items() <= labels.items() for selector in selectors)
    there = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert all(name.startswith(f"{prefix}review-consumer") for _, name in there)
    references = set(_references(objects))
    assert len(references) >= 3
    assert references <= there


def test_keda_scales_by_the_lag_of_this_group() -> None:
    """It reads the worker's own group and topic with its credentials, from 1 to the number of partitions."""
    objects = overlay("autoscaled")
    spec, settings = one(objects, "ScaledObject")["spec"], worker_settings(objects)
    (trigger,) = spec["triggers"]
    asked = trigger["metadata"]
    assert trigger["type"] == "kafka"
    assert (asked["bootstrapServers"], asked["consumerGroup"]) == (settings.bootstrap_servers, settings.group_id)
    assert asked["topic"] == settings.input_topic
    assert asked["sasl"].upper().replace("SCRAM_SHA", "SCRAM-SHA-") == settings.sasl_mechanism
    assert (settings.security_protocol, asked["tls"]) == ("SASL_SSL", "enable")
    partitions = re.search(r"partitions=\$\{PARTITIONS:-(\d+)\}", (DEPLOY / "kafka/create-topics.sh").read_text())
    assert partitions
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, int(partitions[1]))
    assert "replicas" not in workload(objects)["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] > behavior["scaleUp"]["stabilizationWindowSeconds"] > 0
    authentication = one(objects, "TriggerAuthentication")["spec"]
    secret = mounts(objects)[environment(objects)["REVIEWS_SECRETS_DIR"]]["secret"]["secretName"]
    assert {source["name"] for source in authentication["secretTargetRef"]} == {secret}
    named = {source["key"]: source["parameter"] for source in authentication["secretTargetRef"]}
    assert named == {"reviews_sasl_username": "username", "reviews_sasl_password": "password"}
    (authority,) = authentication["configMapTargetRef"]
    assert authority["key"] in config_map(objects, authority["name"])
