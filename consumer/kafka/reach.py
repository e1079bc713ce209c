"""Why a broker cannot be reached, from connections of our own.

kafka-python reports a name that cannot be resolved, a refused port and a silent address alike, as "unable to
bootstrap", and mentions an advertised address that leads nowhere only in its log. Here each has a line of its own, with
what to do about it. These connections send nothing but the beginning of a TLS handshake.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from threading import Thread

from consumer.settings.addresses import split_address

#: Addresses that are reported at most: a cluster may have hundreds.
MOST = 3
#: For what the time limits of connections leave: a resolver that is still waited for then is silent.
SPARE_SECONDS = 0.2


def diagnose(bootstrap: Sequence[str], advertised: Sequence[str], tls: bool, seconds: float) -> str:
    """Try every address at once.

    Args:
        bootstrap: HOST:PORT of each broker that the settings name.
        advertised: HOST:PORT of each broker that the cluster has named, if it could be asked.
        tls: whether the connections of the client are encrypted.
        seconds: how long this may take.

    Returns:
        One line with the addresses that cannot be reached and what to do; empty if that is not the cause.
    """
    found = problems([*bootstrap, *advertised], tls, seconds)
    # A cluster that could be asked for its brokers was reached, whichever of the bootstrap servers it was.
    wanted = [address for address in advertised or bootstrap if found[address]]
    if not wanted or (not advertised and not all(found[address] for address in bootstrap)):
        return ""
    told = "; ".join(found[address] for address in wanted[:MOST])
    more = f" (and {len(wanted) - MOST} more)" if len(wanted) > MOST else ""
    if not set(wanted) <= set(bootstrap):
        return (
            f"{bootstrap[0]} answers and sends clients on to an address that does not work here: {told}{more}; correct "
            "advertised.listeners of the brokers, or the names and routes of this machine"
        )
    return told + more


def problems(addresses: Sequence[str], tls: bool, seconds: float) -> dict[str, str]:
    """What is wrong with each of these addresses, tried at once; empty if nothing is.

    Args:
        addresses: HOST:PORT of brokers.
        tls: whether the connections of the client are encrypted.
        seconds: how long this may take.
    """
    deadline = time.monotonic() + seconds
    tries = {address: _in_background(address, tls, deadline) for address in addresses}
    wait(tries.values(), seconds + SPARE_SECONDS)
    return {address: _result(address, tried, seconds) for address, tried in tries.items()}


def _in_background(address: str, tls: bool, deadline: float) -> Future[str]:
    tried: Future[str] = Future()

    def run() -> None:
        try:
            tried.set_result(_try(address, tls, deadline))
        except Exception as error:
            tried.set_exception(error)

    Thread(target=run, name="reach", daemon=True).start()  # a resolver takes no timeout: it may be left behind
    return tried


def _result(address: str, tried: Future[str], seconds: float) -> str:
    if not tried.done():
        return _unresolved(split_address(address)[0], f"no answer within {seconds:.1f} s")
    error = tried.exception()
    return f"{address} cannot be tried ({type(error).__name__})" if error else tried.result()


def _try(address: str, tls: bool, deadline: float) -> str:
    """What is wrong with one address; empty if nothing is."""
    host, port = split_address(address)
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        return _unresolved(host, error.strerror if isinstance(error, OSError) else "it is no name")
    problem = ""
    for number, (family, kind, protocol, _, place) in enumerate(places):
        with socket.socket(family, kind, protocol) as connection:
            # What is left is shared by the other places and the handshake.
            connection.settimeout(_left(deadline) / (len(places) - number + 1))
            try:
                connection.connect(place)
            except OSError as error:
                problem = problem or _unconnected(address, error)  # resolvers return the best place first
                continue
            connection.settimeout(_left(deadline))
            return _spoken_to(address, host, connection, tls)
    return problem


def _left(deadline: float) -> float:
    return max(0.05, deadline - time.monotonic())


def _unresolved(host: str, why: object) -> str:
    return f"the name {host} cannot be resolved ({why}); check its spelling, and the DNS of this machine"


def _unconnected(address: str, error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return (
            f"{address} is silent: no connection comes about, and none is refused; check the address, and firewalls, "
            "security groups and network policies on the way"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{address} refuses connections; check the port, and that Kafka runs there"
    return f"{address} cannot be reached ({error.strerror}); check the address, and the network of this machine"


def _spoken_to(address: str, host: str, connection: socket.socket, tls: bool) -> str:
    """What is wrong with a port that takes connections: begin a TLS handshake, and see what comes back."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the client verifies; this only looks
    speaks_tls = True
    try:
        with contextlib.closing(context.wrap_socket(connection, server_hostname=host)):
            pass
    except TimeoutError:
        return (
            f"{address} takes connections and does not answer; the broker may be frozen or overloaded, or another "
            "program listens there"
        )
    except ssl.SSLError as error:
        if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
            return f"{address} answers, but not as Kafka does; check the port"
        speaks_tls = "ALERT" in (error.reason or "")
    except OSError:  # a broker without TLS closes the connection, having read nonsense
        speaks_tls = False
    if speaks_tls and not tls:
        return f"{address} speaks TLS; set security_protocol to SASL_SSL, or to SSL if it asks for no password"
    if tls and not speaks_tls:
        return f"{address} does not speak TLS; check the port, and security_protocol"
    return ""
