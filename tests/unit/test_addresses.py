"""Addresses of brokers: what Kafka's own clients take is taken, and nothing leads to an unencrypted connection."""

import pytest
from kafka.cluster import collect_hosts

from consumer.errors import UsageError
from consumer.run import add_arguments
from consumer.settings import WorkerSettings
from consumer.settings.addresses import is_loopback, split_address
from consumer.settings.sources import read_settings
from consumer.usage import Parser

TAKEN = {
    "127.0.0.1:9092, 127.0.0.1:9093": "127.0.0.1:9092,127.0.0.1:9093",
    " kafka:9092 ,\tkafka-2:9092\n": "kafka:9092,kafka-2:9092",
    "kafka:9092,": "kafka:9092",
    ",kafka:9092,,kafka-2:9092": "kafka:9092,kafka-2:9092",
    "kafka:9092,kafka:9092": "kafka:9092",
    "[::1]:9092": "[::1]:9092",
    "[fe80::1%eth0]:9092": "[fe80::1%eth0]:9092",
    "[2001:DB8::7]:9092,kafka:1": "[2001:DB8::7]:9092,kafka:1",
    "KAFKA.Example.COM:65535": "KAFKA.Example.COM:65535",
    "kafka.example.com.:9092": "kafka.example.com.:9092",
    "kafka_1:9092": "kafka_1:9092",
    "xn--kfka-5qa.example:9092": "xn--kfka-5qa.example:9092",
}
REFUSED = {
    "SASL_SSL://127.0.0.1:9092": "write host:port; set security_protocol to SASL_SSL",
    "sasl_ssl://127.0.0.1:9092": "set security_protocol to SASL_SSL",
    "SSL://kafka:9092": "set security_protocol to SSL",
    "PLAINTEXT://kafka:9092": "set security_protocol to PLAINTEXT",
    "kafka:9092,SASL_SSL://kafka-2:9092": "address 2 of 2: write host:port; set security_protocol to SASL_SSL",
    "http://kafka:9092": "without a scheme",
    "kafka://kafka:9092": "without a scheme",
    "kafka+ssl://kafka:9092": "without a scheme",
    "//kafka:9092": "without a slash",
    "kafka:9092/": "without a slash",
    "kafka:9092/topic": "without a slash",
    "worker:hunter2@kafka:9092": "without a user name",
    "https://worker:hunter2@kafka:9092": "without a scheme",
    "::1:9092": "[::1]:9092",
    "::1": "[::1]:9092",
    "[::1]": "[::1]:9092",
    "2001:db8::7:9092": "[::1]:9092",
    "[kafka]:9092": "brackets are for IPv6",
    "[127.0.0.1]:9092": "brackets are for IPv6",
    "kafka": "no port",
    "kafka:": "port from 1 to 65535",
    ":9092": "no port",
    "kafka:0": "port from 1 to 65535",
    "kafka:65536": "port from 1 to 65535",
    "kafka:99999999999999999999": "port from 1 to 65535",
    "kafka:-1": "port from 1 to 65535",
    "kafka:9_092": "port from 1 to 65535",
    "kafka:\u0669\u0660\u0669\u0662": "ASCII",
    "k\u00e4fka:9092": "ASCII",
    "kafka\u200b:9092": "ASCII",
    "kafka\uff1a9092": "ASCII",
    "kafka :9092": "separate several of them by commas",
    "kafka:9092 kafka-2:9092": "separate several of them by commas",
    "kafka:9092;kafka-2:9092": "separate several of them by commas",
    '"kafka:9092"': "port from 1 to 65535",
    "-kafka:9092": "name or the IP address",
    "kafka\x00:9092": "name or the IP address",
    "${KAFKA}:9092": "name or the IP address",
    "": "no address",
    " , ,": "no address",
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEWS_CONFIG", "")


def read(servers: str, *flags: str) -> WorkerSettings:
    """The settings of a worker that is given these."""
    parser = Parser()
    add_arguments(parser)
    return read_settings(parser.parse_args([f"--bootstrap-servers={servers}", *flags])).settings


@pytest.mark.parametrize("servers", TAKEN)
def test_addresses_as_people_write_them_are_taken(servers: str) -> None:
    """The client gets each address once, and reads host and port from it as we do."""
    assert read(servers).bootstrap_servers == TAKEN[servers]
    addresses = TAKEN[servers].split(",")
    assert {(host, port) for host, port, _ in collect_hosts(addresses)} == set(map(split_address, addresses))


@pytest.mark.parametrize("servers", REFUSED)
def test_what_is_no_address_is_refused_with_what_to_write(servers: str) -> None:
    """Exit code 2; the value is not repeated, since it may hold a password."""
    with pytest.raises(UsageError) as refused:
        read(servers)
    assert "bootstrap_servers: " in str(refused.value)
    assert REFUSED[servers] in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["SASL_SSL", "ssl", "SASL_PLAINTEXT", "https"])
def test_a_scheme_never_decides_about_encryption(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with every security_protocol, so that an address and a setting cannot contradict each other."""
    monkeypatch.setenv("REVIEWS_SASL_USERNAME", "worker")
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", "hunter2")
    for protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        read("127.0.0.1:9092", "--security-protocol", protocol)
        with pytest.raises(UsageError, match="write host:port"):
            read(f"{scheme}://127.0.0.1:9092", "--security-protocol", protocol)


def test_many_brokers_with_long_names_are_taken() -> None:
    """Names of managed clusters have 70 characters, and clusters a dozen brokers."""
    servers = ",".join(f"b-{number}.{'cluster' * 10}.kafka.example.com:9096" for number in range(12))
    assert read(servers).bootstrap_servers == servers


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("localhost:1", True),
        ("LocalHost.:1", True),
        ("127.8.9.1:1", True),
        ("[::1]:1", True),
        ("localhost.example.com:1", False),
        ("10.0.0.1:1", False),
        ("[::2]:1", False),
    ],
)
def test_only_loopback_addresses_are_this_machine(address: str, local: bool) -> None:
    """The warning about an unencrypted connection depends on it."""
    assert is_loopback(address) is local
