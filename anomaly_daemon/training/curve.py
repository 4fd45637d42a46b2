"""The training and validation curve, as text for a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anomaly_daemon.training.checkpoint import Epoch

BARS = "▁▂▃▄▅▆▇█"
MOST, ROWS = 60, 25
"""Characters of a sparkline, and rows of a table. Of a longer curve, evenly spaced epochs are shown."""


def sparkline(values: Sequence[float]) -> str:
    """Return the values as one character each, scaled from the lowest to the highest. More than `MOST` values are
    thinned out."""
    shown = [values[place] for place in _shown(len(values), MOST)]
    low, span = min(shown), max(shown) - min(shown)
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in shown)


def cells(curve: Sequence[Epoch], best: int) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of a table of the curve. The best epoch is always among the rows, and marked."""
    headings = ["epoch", "training", "validation", "prediction", "reconstruction", ""]
    rows = [
        [
            str(one.epoch + 1),
            f"{one.training:.4f}",
            f"{one.validation:.4f}",
            f"{one.validation_prediction:.4f}",
            f"{one.validation_reconstruction:.4f}",
            "best" if one.epoch == best else "",
        ]
        for one in (curve[place] for place in sorted({*_shown(len(curve), ROWS), best}))
    ]
    return headings, rows


def _shown(epochs: int, most: int) -> list[int]:
    """Return the indices of at most `most` epochs, evenly spaced, the first and the last among them."""
    return sorted({round(place * (epochs - 1) / (most - 1)) for place in range(most)})


def draw(curve: Sequence[Epoch], best: int, path: Path) -> None:
    """Write the curve to `path` as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [one.epoch + 1 for one in curve]
    axes.plot(epochs, [one.training for one in curve], label="training", marker=".")
    axes.plot(epochs, [one.validation for one in curve], label="validation", marker=".")
    axes.axvline(best + 1, color="grey", linestyle=":", label="best")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.legend()
    figure.savefig(path, format="png", dpi=120)
