"""A broker with TLS, SCRAM users and an authorizer, whose certificate a test may exchange."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Self

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from consumer.local.broker import LocalBroker
from tests.kafka_helpers import Topics

USER, PASSWORD = "worker", "a-password-that-must-not-be-logged"

#: Everything that the worker needs (kind, name, operation), and nothing else.
Right = tuple[ResourceType, str, ACLOperation]


def rights(topics: Topics) -> dict[str, list[Right]]:
    """The least rights of a worker, by what they are for."""
    read, write, describe = ACLOperation.READ, ACLOperation.WRITE, ACLOperation.DESCRIBE
    topic, group, transaction = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
    return {
        "input": [(topic, topics.input, read), (topic, topics.input, describe)],
        "output": [(topic, topics.output, write), (topic, topics.output, describe)],
        "dead letters": [(topic, topics.dead_letter, write), (topic, topics.dead_letter, describe)],
        "group": [(group, topics.group, read)],
        "transactions": [(transaction, topics.group, write), (transaction, topics.group, describe)],
    }


def replay_rights(topics: Topics) -> list[Right]:
    """The least rights of `dlq replay --send`; the other actions need the first two."""
    read, write, describe = ACLOperation.READ, ACLOperation.WRITE, ACLOperation.DESCRIBE
    return [
        (ResourceType.TOPIC, topics.dead_letter, read),
        (ResourceType.TOPIC, topics.dead_letter, describe),
        (ResourceType.TOPIC, topics.input, write),
        (ResourceType.TOPIC, topics.input, describe),
        (ResourceType.GROUP, f"{topics.group}.replay", read),
        *rights(topics)["transactions"],
    ]


class SecureBroker:
    """Listens with SASL_SSL for clients; administration comes through the internal listener."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self._keystore = directory / "server.pem"
        self.authority_file = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.authority_file))
        self._write_certificate("127.0.0.1")
        jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        self.kafka = LocalBroker(
            protocol="SASL_SSL",
            properties={
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self._keystore),
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.client.scram-sha-512.sasl.jaas.config": jaas,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            },
        )

    def __enter__(self) -> Self:
        self.kafka.__enter__()
        with self.kafka.admin() as admin:
            user = UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, PASSWORD)
            assert admin.alter_user_scram_credentials([user]) == {USER: None}
        return self

    def __exit__(self, *_: object) -> None:
        self.kafka.__exit__(*_)

    def use_certificate(self, name: str, expires: datetime | None = None) -> None:
        """Restart with a certificate for the host `name`."""
        self.kafka.stop()
        self._write_certificate(name, expires)
        self.kafka.start()

    def allow(self, topics: Topics, *, without: Iterable[str] = ()) -> None:
        """Give the user the least rights for these topics, except those for `without`."""
        wanted = [right for name, found in rights(topics).items() if name not in without for right in found]
        self.grant(wanted)

    def grant(self, wanted: Iterable[Right]) -> None:
        """Give the user these rights."""
        with self.kafka.admin() as admin:
            assert not admin.create_acls([_acl(right) for right in wanted])["failed"]

    def deny(self, right: Right) -> None:
        """Take one right away, whatever else is allowed."""
        with self.kafka.admin() as admin:
            assert not admin.create_acls([_acl(right, ACLPermissionType.DENY)])["failed"]

    def settings(self, **others: object) -> dict[str, object]:
        """Settings of a worker that may come in; the password is not among them, it has no flag."""
        return {
            "security_protocol": "SASL_SSL",
            "sasl_username": USER,
            "ssl_cafile": self.authority_file,
            "start_timeout_seconds": 20,
            **others,
        }

    def _write_certificate(self, name: str, expires: datetime | None = None) -> None:
        issued = self._authority.issue_cert(name, not_after=expires)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        # Kafka reads PKCS #8 alone.
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._keystore.write_bytes(pem + b"".join(part.bytes() for part in issued.cert_chain_pems))


def _acl(right: Right, permission: ACLPermissionType = ACLPermissionType.ALLOW) -> ACL:
    kind, name, operation = right
    pattern = ACLResourcePatternType.LITERAL
    if kind is ResourceType.TRANSACTIONAL_ID:
        pattern = ACLResourcePatternType.PREFIXED
    return ACL(f"User:{USER}", "*", operation, permission, ResourcePattern(kind, name, pattern))
