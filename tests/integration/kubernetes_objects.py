"""The kustomizations of deploy/kubernetes as they are built, and how to look things up in them."""

import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from consumer.settings import WorkerSettings
from tests.external import find

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())

Object = dict[str, Any]


@cache
def build(directory: Path) -> list[Object]:
    """What `kubectl apply -k` would send to the cluster."""
    name = find("kustomize", "kubectl", install="see .ci/run")
    command = ["kustomize", "build"] if name == "kustomize" else ["kubectl", "kustomize"]
    done = subprocess.run([*command, directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def overlay(name: str) -> list[Object]:
    """One of the overlays of this repository."""
    return build(KUBERNETES / "overlays" / name)


def build_over(directory: Path, *names: str, **kustomization: Any) -> list[Object]:
    """An overlay of a user's own, written to `directory`, over overlays or with components of this repository.

    Args:
        directory: an empty one.
        names: of what it starts from, relative to deploy/kubernetes: one of overlays/, any of components/.
        kustomization: its other fields.
    """
    paths = [os.path.relpath((KUBERNETES / name).resolve(), directory.resolve()) for name in names]
    content = {
        "resources": [path for path in paths if "components" not in path],
        "components": [path for path in paths if "components" in path],
        **kustomization,
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return build(directory)


def one(objects: list[Object], *kinds: str) -> Object:
    """The only object of these kinds."""
    (found,) = [each for each in objects if each["kind"] in kinds]
    return found


def workload(objects: list[Object]) -> Object:
    """The Deployment, StatefulSet or Job."""
    return one(objects, "Deployment", "StatefulSet", "Job")


def pod(objects: list[Object]) -> Object:
    """The spec of its pods."""
    spec: Object = workload(objects)["spec"]["template"]["spec"]
    return spec


def container(objects: list[Object]) -> Object:
    """Its only container."""
    (found,) = pod(objects)["containers"]
    return dict(found)


def environment(objects: list[Object]) -> dict[str, str]:
    """The environment that the container gets, with the name of its first pod."""
    worker = container(objects)
    values = {
        "metadata.name": f"{workload(objects)['metadata']['name']}-0",
        "requests.cpu": worker["resources"]["requests"]["cpu"],
    }
    found = {}
    for variable in worker["env"]:
        source = variable.get("valueFrom")
        if source is None:
            found[variable["name"]] = variable["value"]
        elif "fieldRef" in source:
            found[variable["name"]] = values[source["fieldRef"]["fieldPath"]]
        else:
            assert source["resourceFieldRef"]["containerName"] == worker["name"]
            found[variable["name"]] = values[source["resourceFieldRef"]["resource"]]
    return found


def mounts(objects: list[Object]) -> dict[str, Object]:
    """Path in the container: the volume that is mounted there."""
    volumes = {volume["name"]: volume for volume in pod(objects)["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in container(objects)["volumeMounts"]}


def config_map(objects: list[Object], name: str) -> dict[str, str]:
    """The data of a generated ConfigMap."""
    (found,) = [each for each in objects if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name]
    return dict(found["data"])


def settings_file(objects: list[Object]) -> Object:
    """The settings file that REVIEWS_CONFIG names."""
    directory, _, file = environment(objects)["REVIEWS_CONFIG"].rpartition("/")
    return tomllib.loads(config_map(objects, mounts(objects)[directory]["configMap"]["name"])[file])


def worker_settings(objects: list[Object]) -> WorkerSettings:
    """The settings of the first pod, with credentials, without the CA, which is no file here."""
    variables: Object = {
        name.removeprefix("REVIEWS_").lower(): value
        for name, value in environment(objects).items()
        if name not in {"REVIEWS_CONFIG", "REVIEWS_SECRETS_DIR", "REVIEWS_SSL_CAFILE"}
    }
    return WorkerSettings(**settings_file(objects), **variables, sasl_username="reviews", sasl_password="secret")


def mebibytes(quantity: str) -> float:
    """A quantity of memory, such as 2Gi."""
    number, unit = re.fullmatch(r"(\d+)([MG]i)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]
