"""The validation curve, for a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anomaly_daemon.training.checkpoint import Epoch

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """One character a value, from the lowest to the highest of them."""
    low, span = min(values), max(values) - min(values)
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in values)


def cells(curve: Sequence[Epoch], best: int) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table of the curve; the best epoch is marked."""
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
        for one in curve
    ]
    return headings, rows


def draw(curve: Sequence[Epoch], best: int, path: Path) -> None:
    """Write the curve as a PNG."""
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
