"""Protocols of NVE tests, published and our own: which systems are simulated, and how (docs/protocols.md)."""

from esen.md.protocols.protocol import PROTOCOLS, Headline, Protocol, Relaxation
from esen.md.protocols.runs import protocol_runs, protocol_systems

__all__ = ["PROTOCOLS", "Headline", "Protocol", "Relaxation", "protocol_runs", "protocol_systems"]
