"""Addresses of brokers: HOST:PORT, separated by commas. What Kafka's own clients misread in silence is refused."""

import ipaddress
import re

#: Host names, as resolvers take them, and IPv4 addresses.
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+._-]*)://")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def parse_addresses(text: str) -> tuple[str, ...]:
    """The addresses in `text`, each once and in order; blanks around them and empty ones between commas are dropped.

    A scheme is refused even if it agrees with `security_protocol`: whether a connection is encrypted is written in one
    place. kafka-python and Kafka's Java client throw it away, and connect without encryption.

    Raises:
        ValueError: one of them is no HOST:PORT. The message does not repeat it: it may hold a password.
    """
    addresses = tuple(dict.fromkeys(filter(None, (each.strip() for each in text.split(",")))))
    if not addresses:
        raise ValueError("no address; write host:port, or several of them separated by commas")
    for number, address in enumerate(addresses, 1):
        try:
            split_address(address)
        except ValueError as error:
            which = f"address {number} of {len(addresses)}: " if len(addresses) > 1 else ""
            raise ValueError(f"{which}{error}") from None
    return addresses


def split_address(address: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port.

    Raises:
        ValueError: it is no HOST:PORT; the message says what to write.
    """
    if scheme := _SCHEME.match(address):
        protocol = scheme[1].upper()
        raise ValueError(
            f"write host:port; set security_protocol to {protocol}"
            if protocol in _PROTOCOLS
            else "write host:port, without a scheme such as http://; set security_protocol for encryption"
        )
    if "@" in address:
        raise ValueError("write host:port, without a user name; set sasl_username, and the password in a file")
    if "/" in address:
        raise ValueError("write host:port, without a slash or a path after it")
    if re.search(r"[\s;]", address):
        raise ValueError("write host:port, and separate several of them by commas")
    if not address.isascii():
        raise ValueError("write host:port in ASCII; an international name begins with xn--")
    host, _, port = address.rpartition(":")
    if _is_ipv6(address) or _is_ipv6(host) or re.fullmatch(r"\[[^]]*\]", address):
        raise ValueError("write [address]:port for an IPv6 address, such as [::1]:9092")
    if not host:
        raise ValueError("it has no port; write host:port, such as kafka:9092")
    if not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise ValueError("write host:port with a port from 1 to 65535")
    if bracketed := re.fullmatch(r"\[(.*)\]", host):
        if not _is_ipv6(bracketed[1]):
            raise ValueError("write host:port; brackets are for IPv6 addresses alone")
        return bracketed[1], int(port)
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError("write host:port, with the name or the IP address of a broker as host")
    return host, int(port)


def is_loopback(address: str) -> bool:
    """Whether this HOST:PORT never leaves this machine."""
    host = split_address(address)[0].lower().rstrip(".")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
