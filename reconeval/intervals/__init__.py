"""How far a score can be trusted: intervals over cells, perturbations and seeds."""

from __future__ import annotations

from reconeval.intervals._replicates import Replicates

__all__ = ["Replicates"]
