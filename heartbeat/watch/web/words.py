"""What the names mean, for somebody who was woken by one of them: in a few words, in a sentence, and what to do."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["EVENTS", "EVIDENCE", "PHASES", "REASONS", "SPARED", "STATES", "Word", "reason"]


class Word(NamedTuple):
    """One name.

    :ivar title: in a few words
    :ivar meaning: in a sentence or two
    :ivar advice: where to look first; ``""`` where there is nothing to do
    """

    title: str
    meaning: str
    advice: str = ""


STATES: Final = {
    "alive": Word("Alive", "It was heard in time."),
    "suspect": Word(
        "Suspect", "Nothing was heard for half of the agreed time, and it was asked once more. No alarm yet."
    ),
    "stuck": Word(
        "Stuck", "Its event loop answers, but work waits and its progress counter stands still.", "Look at its worker."
    ),
    "dead": Word("Dead", "It failed. The failure below says of what, and what the kernel saw."),
    "left": Word("Left", "It said goodbye, or was told to go elsewhere. No failure."),
}

PHASES: Final = {
    "connect": "while connecting",
    "handshake": "during the handshake",
    "live": "while it was connected",
}

REASONS: Final = {
    # connect
    "dns_fail": Word(
        "Name not found", "The name of the host could not be resolved.", "Check the name and the resolver."
    ),
    "tcp_refused": Word(
        "Connection refused",
        "The host answers, and nothing listens on that port.",
        "Is the service running, and on that port?",
    ),
    "tcp_timeout": Word(
        "No answer to the connection",
        "Nothing came back on the first packet.",
        "Check firewalls on the way, and whether the host is up.",
    ),
    "tcp_unreachable": Word(
        "Host or network unreachable", "A router, or our own host, knows no way there.", "Check routes and links."
    ),
    # handshake
    "tls_timeout": Word(
        "TLS did not come to an end",
        "The TLS handshake took longer than --handshake-timeout.",
        "Is it a TLS client at all? Is the path so slow, or one of the hosts so busy?",
    ),
    "tls_verify": Word(
        "Certificate not trusted",
        "The certificate was issued by nobody whom this end trusts.",
        "Check the CA file and the chain.",
    ),
    "tls_hostname": Word(
        "Certificate of another name",
        "The certificate is valid, but not for the name that was asked for.",
        "Check the name in the certificate, and where the name leads.",
    ),
    "tls_expired": Word("Certificate expired", "The time of the certificate is over.", "Renew it. Is the clock right?"),
    "tls_pin": Word(
        "Key is not the pinned one",
        "The certificate has another key than the one that was pinned.",
        "Was the key changed on purpose? If not, somebody is in between.",
    ),
    "tls_handshake": Word(
        "TLS handshake failed", "The two ends found no common ground.", "Compare TLS versions and ciphers; see the log."
    ),
    "intercepted": Word(
        "Somebody is in between",
        "The two ends do not see the same TLS connection.",
        "Look for a TLS proxy or an inspecting firewall on the way.",
    ),
    "identity_refused": Word(
        "Not who it claims to be",
        "It did not prove its name.",
        "Check its key or certificate, and which names they may use.",
    ),
    "terms_refused": Word(
        "Terms not accepted", "It wants intervals or limits that were refused.", "Compare the intervals of both ends."
    ),
    "version_refused": Word("Unknown version", "It speaks another version of the protocol.", "Update the older end."),
    "hello_timeout": Word(
        "Said nothing in time",
        "It connected, and did not say who it is within --handshake-timeout.",
        "A port scan or a balancer's check looks like this, too.",
    ),
    "id_in_use": Word(
        "Name already taken", "Somebody of the same name is connected.", "Give each host a name of its own (--id)."
    ),
    "server_full": Word(
        "Server was full",
        "The limit of connections was reached.",
        "Raise --max-connections or --max-per-address, or add a server.",
    ),
    # live
    "path_dead": Word(
        "Path is dead",
        "What we sent was repeated by the kernel, and nobody acknowledged it.",
        "Check the network between here and there, and whether the host is up. Are its neighbours dead, too?",
    ),
    "nat_expired": Word(
        "A NAT forgot the connection",
        "The peer came back at once: the path works, a box on it had lost the connection.",
        "Ping more often than the box forgets, or raise its timeout.",
    ),
    "peer_stalled": Word(
        "Process does not answer",
        "Its kernel acknowledged our question, or it is still heard; the process answers no ping.",
        "Look at the process: stopped, blocked, swapping, out of CPU? The path works.",
    ),
    "peer_not_reading": Word(
        "Process does not read",
        "Its receive window stayed closed: the process reads nothing from the connection.",
        "Look at the process: blocked, stopped, or overrun by data?",
    ),
    "local_egress": Word(
        "This host did not send",
        "The packets never left this host, the fault is on our side.",
        "Check this host's packet filter, addresses and routes.",
    ),
    "local_link": Word(
        "This host's link is down",
        "The packets never left this host: no carrier, no route, or a next hop that does not answer.",
        "Check this host's interface, cable and gateway.",
    ),
    "peer_closed": Word(
        "Process ended",
        "The connection was closed without a goodbye: the process ended or crashed. Its host (or a proxy) lives.",
        "Look at the process and its log: killed, crashed, restarted?",
    ),
    "peer_reset": Word(
        "Reset by the peer",
        "The host reset the connection by itself.",
        "A process that was killed with unread data does this, and some load balancers.",
    ),
    "middlebox_reset": Word(
        "Reset on the way",
        "The reset came as an answer to a packet of ours: from a box that had forgotten the connection, or a host that "
        "was restarted.",
        "Check firewalls, NAT and balancers on the way; was the host restarted?",
    ),
    "peer_restarted": Word(
        "Process was restarted", "Another process came back under the same name.", "A deployment? If not, see its log."
    ),
    "peer_stuck": Word("Work stands still", "Its loop answers, but its work does not move.", "Look at its worker."),
    "ping_flood": Word(
        "Pinged too often", "It asked faster than was agreed, and did not stop.", "Compare its interval with the limit."
    ),
    "protocol_error": Word(
        "Broke the protocol",
        "It sent something that does not belong there.",
        "Another program on this port, a box that changes bytes, or a bug: the log has the details.",
    ),
    "unattributed": Word(
        "Unknown",
        "It fell silent or was cut off, and nothing can be proved. This platform or transport shows too little.",
        "Look at the host and the path; the flight recorder shows what was seen.",
    ),
    # HTTP probes
    "http_timeout": Word(
        "No HTTP answer", "The service took the connection and did not answer in time.", "See its log."
    ),
    "http_4xx": Word(
        "HTTP refused", "The service answered with 4xx.", "Check the URL and the credentials of the probe."
    ),
    "http_5xx": Word("HTTP error", "The service answered with 5xx.", "See the log of the service."),
    "http_protocol": Word(
        "Wrong answer",
        "What came back was no HTTP, or not what is expected: another status, another body, too long.",
        "The detail says which. Check the port, the scheme and what the prober expects.",
    ),
}

SPARED: Final = {
    "local_stall": Word("own stall", "Our own event loop did not run."),
    "clock_step": Word("clock step", "The clock of this host was set."),
    "suspended": Word("suspend", "This host was suspended."),
    "unread_input": Word("unread input", "Its answer had arrived, and we had not read it yet."),
    "mass_timeout": Word("crowd", "So many were due at once that the fault was rather ours."),
}

#: The flight recorder: what each event says, and the unit of its value.
EVENTS: Final = {
    "connected": ("connection made", ""),
    "opened": ("handshake over", ""),
    "alive": ("well again", ""),
    "stuck": ("its work stands still", ""),
    "suspect": ("suspect, silent for", "s"),
    "asked": ("asked, no answer, ping", "#"),
    "confirm": ("asked once more", ""),
    "looked": ("looked at the kernel, unacknowledged", "B"),
    "heard": ("last sign of life", ""),
    "late": ("answered late, after", "s"),
    "lost": ("answers lost", "n"),
    "stalled": ("says it was stalled for", "s"),
    "deaf": ("we stopped reading", ""),
    "hearing": ("we read again", ""),
    "own_stall": ("our own loop stood still for", "s"),
    "synced": ("told of a change", ""),
    "left": ("said goodbye", ""),
    "refused": ("refused", ""),
    "dead": ("dead, silent for", "s"),
}

#: Evidence: how each field is called, and its unit. What is not here is shown under its own name.
EVIDENCE: Final = {
    "silent_s": ("Silent for", "s"),
    "detail": ("Detail", ""),
    "was": ("First called", ""),
    "reason": ("It said", ""),
    "error": ("Error of the kernel", ""),
    "unread": ("Not read by us", "B"),
    "waiting": ("Not taken by the kernel", "B"),
    "outq": ("Sent, not acknowledged", "B"),
    "reading": ("We were reading", ""),
    "tls_pending": ("Unfinished TLS record", "B"),
    "lag": ("Our own lag", "s"),
    "handed_over": ("Hand-over to the kernel", ""),
    "at": ("Looked at", "t"),
    "tcp.state": ("TCP state", "tcp"),
    "tcp.retransmits": ("Repetitions in a row", "n"),
    "tcp.probes": ("Probes unanswered", "n"),
    "tcp.backoff": ("Timeout doubled", "×"),
    "tcp.rto": ("Retransmission timeout", "s"),
    "tcp.unacked": ("Segments on their way", "n"),
    "tcp.last_data_recv": ("Last data from it", "ago"),
    "tcp.last_ack_recv": ("Last acknowledgement", "ago"),
    "tcp.last_data_sent": ("Last data to it", "ago"),
    "tcp.rtt": ("Round trip (kernel)", "s"),
    "tcp.rtt_variation": ("Its variation", "s"),
    "tcp.min_rtt": ("Shortest round trip", "s"),
    "tcp.total_retrans": ("Segments repeated in all", "n"),
    "tcp.retrans": ("Of those on their way, repeated", "n"),
    "tcp.bytes_acked": ("Acknowledged in all", "B"),
    "tcp.delivered": ("Segments delivered in all", "n"),
    "tcp.bytes_received": ("Received in all", "B"),
    "tcp.notsent": ("Never sent", "B"),
    "tcp.snd_wnd": ("Its window", "B"),
    "tcp.snd_mss": ("Largest segment", "B"),
    "tcp.pmtu": ("Largest packet", "B"),
    "tcp.ato": ("Acknowledgement delay", "s"),
}


def reason(name: str) -> Word:
    """The words of a failure reason; one that is not known here is its own title."""
    return REASONS.get(name) or Word(name.replace("_", " "), "")
