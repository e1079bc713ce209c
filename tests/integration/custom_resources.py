"""The fields of custom resources that deploy/kubernetes uses; any other is a mistake until it is added here.

kubernetes-validate only knows the kinds of Kubernetes itself. The fields are those of Prometheus operator 0.80 and KEDA
2.16.
"""

# ruff: noqa: N815 - the names are Kubernetes'

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+$")]
Seconds = Annotated[str, StringConstraints(pattern=r"^[0-9]+s$")]
YesNo = Literal["true", "false"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Metadata(_Strict):
    name: Name
    namespace: Name | None = None
    labels: dict[str, str] = {}


class _Selector(_Strict):
    matchLabels: dict[str, str]


class _Relabeling(_Strict):
    action: Literal["replace"]
    targetLabel: str
    replacement: str | None = None
    sourceLabels: list[str] = []


class _Endpoint(_Strict):
    port: str
    path: str
    interval: Seconds
    scrapeTimeout: Seconds
    relabelings: list[_Relabeling]


class _PodMonitorSpec(_Strict):
    selector: _Selector
    podMetricsEndpoints: list[_Endpoint]


class PodMonitor(_Strict):
    """Of the Prometheus operator."""

    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: _Metadata
    spec: _PodMonitorSpec


class _Policy(_Strict):
    type: Literal["Pods", "Percent"]
    value: int = Field(ge=1)
    periodSeconds: int = Field(ge=1, le=1800)


class _Rules(_Strict):
    stabilizationWindowSeconds: int = Field(ge=0, le=3600)
    policies: list[_Policy] = Field(min_length=1)


class _Behavior(_Strict):
    scaleUp: _Rules
    scaleDown: _Rules


class _AutoscalerConfig(_Strict):
    behavior: _Behavior


class _Advanced(_Strict):
    horizontalPodAutoscalerConfig: _AutoscalerConfig


class _Lag(_Strict):
    """KEDA only takes strings."""

    bootstrapServers: str
    consumerGroup: str
    topic: str
    lagThreshold: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*$")]
    offsetResetPolicy: Literal["earliest", "latest"]
    allowIdleConsumers: YesNo
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    tls: Literal["enable", "disable"]
    sasl: Literal["none", "plaintext", "scram_sha256", "scram_sha512", "oauthbearer", "gssapi"]


class _Named(_Strict):
    name: Name


class _Trigger(_Strict):
    type: Literal["kafka"]
    metadata: _Lag
    authenticationRef: _Named


class _Target(_Named):
    apiVersion: Literal["apps/v1"]
    kind: Literal["Deployment", "StatefulSet"]


class _ScaledObjectSpec(_Strict):
    scaleTargetRef: _Target
    minReplicaCount: int
    maxReplicaCount: int
    pollingInterval: int
    advanced: _Advanced
    triggers: list[_Trigger]


class ScaledObject(_Strict):
    """Of KEDA."""

    apiVersion: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: _Metadata
    spec: _ScaledObjectSpec


class _Source(_Named):
    parameter: Literal["username", "password", "ca", "cert", "key", "keyPassword"]
    key: str


class _TriggerAuthenticationSpec(_Strict):
    secretTargetRef: list[_Source]
    configMapTargetRef: list[_Source]


class TriggerAuthentication(_Strict):
    """Of KEDA."""

    apiVersion: Literal["keda.sh/v1alpha1"]
    kind: Literal["TriggerAuthentication"]
    metadata: _Metadata
    spec: _TriggerAuthenticationSpec


CUSTOM: dict[str, type[BaseModel]] = {each.__name__: each for each in (PodMonitor, ScaledObject, TriggerAuthentication)}
