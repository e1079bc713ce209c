"""Tokens for OAUTHBEARER, from a command of the operator."""

import shlex
import subprocess

from kafka.errors import KafkaConnectionError
from kafka.net.sasl.oauth import AbstractTokenProvider

from consumer.settings.connection import TOKEN_SECONDS


class TokenCommand(AbstractTokenProvider):  # type: ignore[misc]
    """Runs `command`, without a shell, for each connection and each re-authentication.

    Neither the token nor anything else that the command writes reaches a log or an error message.
    """

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = shlex.split(command)

    def token(self) -> str:
        """Return what the command prints, without white space around it. Called by the client's network thread.

        Raises:
            KafkaConnectionError: the command failed or took too long; the client tries again.
        """
        try:
            done = subprocess.run(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=TOKEN_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KafkaConnectionError(f"sasl_token_command took more than {TOKEN_SECONDS:g} s") from None
        except OSError as error:
            raise KafkaConnectionError(f"sasl_token_command cannot be run: {error.strerror}") from None
        if done.returncode:
            raise KafkaConnectionError(f"sasl_token_command failed with exit code {done.returncode}")
        token = done.stdout.strip()
        if not token.isascii() or not token.decode("latin-1").isprintable() or not token:
            raise KafkaConnectionError("sasl_token_command printed no token: one line of ASCII")
        return token.decode("ascii")
