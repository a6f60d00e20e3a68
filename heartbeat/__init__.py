"""The heartbeat of long-lived connections: the pure door. Importing it does not import Twisted.

What needs sockets, timers or TLS is in :mod:`heartbeat.net`; the simulator for tests is :mod:`heartbeat.testing`.
"""

from __future__ import annotations

from heartbeat.config import HeartbeatConfig, KernelOptions
from heartbeat.errors import (
    AlreadyExpired,
    BadCertificate,
    BudgetExpired,
    ConfigError,
    DeadlineExpired,
    HeartbeatError,
    IncompleteRead,
    MissingExtra,
    NotConnected,
    PeerRefused,
    PeerUnresponsive,
    PeerViolation,
    PingLost,
    StoreUnavailable,
    TermsRefused,
)
from heartbeat.interfaces import HeartbeatListener, IHeartbeatListener, IPeerStore, IStateSource
from heartbeat.keys import SharedKey
from heartbeat.liveness.attention import Attention
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.events import (
    Alive,
    Dead,
    Dropped,
    Event,
    Explained,
    Left,
    Refused,
    RoundTrip,
    Spared,
    Stuck,
    Suspect,
    Synced,
    Unpinned,
)
from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.need import Need
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State
from heartbeat.session.keyed import KeyedSession
from heartbeat.session.parting import Parting
from heartbeat.session.session import Session

__version__ = "0.1.0"

__all__ = [
    "Alive",
    "AlreadyExpired",
    "Attention",
    "BadCertificate",
    "Beats",
    "BudgetExpired",
    "ConfigError",
    "Dead",
    "DeadlineExpired",
    "Dropped",
    "Ending",
    "Event",
    "Evidence",
    "Explained",
    "HeartbeatConfig",
    "HeartbeatError",
    "HeartbeatListener",
    "IHeartbeatListener",
    "IPeerStore",
    "IStateSource",
    "IncompleteRead",
    "KernelOptions",
    "KeyedSession",
    "Left",
    "Liveness",
    "MissingExtra",
    "Need",
    "NotConnected",
    "Parting",
    "Peer",
    "PeerRefused",
    "PeerUnresponsive",
    "PeerViolation",
    "PingLost",
    "Refused",
    "Report",
    "RoundTrip",
    "Session",
    "SharedKey",
    "Spared",
    "State",
    "StoreUnavailable",
    "Stuck",
    "Suspect",
    "Synced",
    "TcpInfo",
    "TermsRefused",
    "Unpinned",
    "__version__",
]
