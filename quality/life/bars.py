"""The figures of an experiment, and the bars that they must meet."""

from dataclasses import dataclass
from typing import Any

Figures = dict[str, Any]  # of one seed


@dataclass(frozen=True)
class Bar:
    """One figure over all seeds, and the most that it may be."""

    name: str  # in the summary
    text: str
    figure: float
    most: float

    @property
    def met(self) -> bool:
        """Whether the figure is within the bar."""
        return self.figure <= self.most
