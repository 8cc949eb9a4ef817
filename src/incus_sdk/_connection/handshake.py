"""The TLS handshake: who the server must be, before anything is sent, and sessions that are resumed."""

from __future__ import annotations

import ssl
from typing import Any

_OTHER = "it has another certificate than the one in server_cert="
_DATES = {
    9: "the certificate in server_cert= is not yet valid, or the clock is wrong",
    10: "the certificate in server_cert= has expired",
}
"""By OpenSSL's number of the error."""


class NotPinned(ssl.SSLCertVerificationError):
    """The server did not show the one certificate that counts, or that one is not valid."""


class Settings(ssl.SSLContext):
    """TLS settings, and what connections with them have in common."""

    pinned: bytes | None = None
    """The one certificate (DER) that the server must show."""
    session: ssl.SSLSession | None = None
    """What the next handshakes resume: it was begun with a server that had shown the right certificate."""


class Secured(ssl.SSLObject):
    """The TLS of one connection."""

    ended_by_peer = False
    """Whether the other side said that it sends no more; else its connection was cut."""
    _begun = False

    def do_handshake(self) -> None:
        """Called by the event loop until it is done; raises before a byte goes to a server that is not the pinned one.

        With TLS 1.3, all that the server's part of the handshake is answered with, the client's certificate first, is
        sent after this.
        """
        settings = self.context
        assert isinstance(settings, Settings)
        if not self._begun and settings.session is not None:
            self.session = settings.session
        self._begun = True
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            settings.session = None
            if settings.pinned is not None and isinstance(error, ssl.SSLCertVerificationError):
                raise NotPinned(1, _DATES.get(error.verify_code, _OTHER)) from None
            raise
        if settings.pinned is not None and self.getpeercert(binary_form=True) != settings.pinned:
            raise NotPinned(1, _OTHER)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Called by the event loop."""
        data = super().read(len, buffer)
        if not data:
            self.ended_by_peer = True
        return data

    def remember(self) -> None:
        """Let later connections resume the session of this one, on which an answer has come."""
        session = self.session
        if session is not None and session.has_ticket:
            assert isinstance(self.context, Settings)
            self.context.session = session
