"""What the other side may take: of memory, of time, of connections. No real answer meets these limits."""

from __future__ import annotations

HEAD = 64 * 1024
"""Bytes of an answer's status line and headers, interim answers included."""
REFUSAL = 2**20
"""Bytes of an error's body."""
ENVELOPE = 256 * 2**20
"""Bytes of an answer that is read whole."""
MESSAGE = 64 * 2**20
"""Bytes of one websocket message."""
CHUNK = 256 * 1024
"""Bytes of one piece of a body, in both directions, where as many are there."""
READ_AHEAD = 2**20
"""Bytes that are held for a reader that does not read, before the server is made to wait."""
SEND_BUFFER = 512 * 1024
"""Bytes that a unix socket takes at once, or fewer, as the system allows: each time it is full costs a wait."""

REQUESTS = 64
"""Ordinary requests that are under way at a time; more of them queue. Streams, uploads and waits are not counted."""
ATTACHING = 16
"""Commands whose websockets are being opened at a time: the server gives each five seconds, too few for many."""
IDLE_CONNECTIONS = 64
"""Connections that are kept open for later requests."""

IDLE_SECONDS = 15.0
"""For which an unused connection is kept; the daemon closes one after 30."""
ADDRESS_SECONDS = 10.0
"""That one of several addresses may take."""
CLOSE_SECONDS = 1.0
"""For the other side to answer that a websocket is being closed."""
QUEUE_SECONDS = 0.05
"""Between two attempts to connect to a socket whose queue is full."""

KEEPALIVE_SECONDS = 15
"""Of silence after which TCP asks whether the other side is still there, and between its questions."""
KEEPALIVE_QUESTIONS = 3
"""That stay unanswered on a link that is given up."""
