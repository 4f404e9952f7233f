"""Published and other ways of asking whether energy is conserved: what is simulated, and how (docs/protocols.md)."""

from esen.md.protocols.find import protocol_runs, protocol_systems
from esen.md.protocols.protocol import PROTOCOLS, Headline, Protocol, Relaxation

__all__ = ["PROTOCOLS", "Headline", "Protocol", "Relaxation", "protocol_runs", "protocol_systems"]
