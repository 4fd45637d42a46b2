"""Keys of `training`: what `train` builds and how."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from anomaly_daemon.settings.section import FiniteSection

Width = Annotated[int, Field(ge=1, le=65_536)]
"""As wide a layer as a model may have that is read back."""

LearningRate = Annotated[float, Field(ge=1e-4, le=1e-2)]


class TrainingSettings(FiniteSection):
    """What `train` builds and how. Shapes and ranges follow the literature on recurrent forecasters."""

    layout: Literal["joint", "channel"] = "joint"
    """joint: a stream's features share one state. channel: one state per feature, the same weights for all."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent cell."""
    layers: int = Field(1, ge=1, le=3)
    """Recurrent layers."""
    hidden: int = Field(64, ge=50, le=200)
    """Units of a recurrent layer: most of a stream's memory in the daemon."""
    head: list[Width] = [64]
    """Widths of the dense layers between state and heads."""
    embedding: int = Field(8, ge=1, le=64)
    """Width of a categorical field's embedding."""
    reconstruct: int = Field(8, ge=1, le=64)
    """Events rebuilt from the state alone."""
    normalizer: Literal["standard", "robust", "minmax"] = "standard"
    """How values are scaled: by mean and standard deviation, by median and quartiles, or by minimum and maximum."""
    initialization: Literal["glorot", "he", "orthogonal"] = "orthogonal"
    """How the weights are initialised."""
    dropout: float = Field(0.0, ge=0, le=0.5)
    """0 is off; 0.2 to 0.5 is the usual range."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """The optimiser."""
    learning_rate: LearningRate = 1e-3
    """The optimiser's step size."""
    batch_size: Literal[32, 64, 128] = 64
    """Sequences of one training step."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: mixed precision, for GPUs with tensor cores; products in bfloat16, everything else in float32."""
    window: int = Field(128, ge=16, le=4096)
    """Events per training sequence, and the span of truncated back-propagation through time."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Events between the starts of two sequences, at most a window; none: half a window."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """The most passes over the training range; none: 20, or more where those are under 1,000 steps."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better validation loss before training stops; none: 4, or more where those are under 200 steps."""
    clip_norm: float = Field(5.0, gt=0)
    """A gradient's largest norm."""
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    """The part after the training range in time, for early stopping and calibration."""
    test_share: float = Field(0.15, gt=0, lt=0.5)
    """The newest part, for the final evaluation only."""
    reconstruction_loss_weight: float = Field(0.5, ge=0)
    """The reconstruction loss's weight beside the prediction loss."""
    min_count: int = Field(5, ge=1)
    """A categorical text seen less often than this in the training part counts as unknown."""
    max_classes: int = Field(1000, ge=1, le=60_000)
    """How many texts of a categorical field are known at most; rarer ones count as unknown."""
    seed: int = Field(0, ge=0, le=10**15)
    """The same seed, range and machine give the same loss."""

    @field_validator("batch_size", mode="before")
    @classmethod
    def _number_from_text(cls, value: object) -> object:
        """As --set and the environment give it: pydantic reads numbers from text, but not choices of numbers."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @model_validator(mode="after")
    def _skips_no_event(self) -> Self:
        if self.stride is not None and self.stride > self.window:
            raise ValueError(
                "training.stride is longer than training.window: events between two sequences would be skipped"
            )
        return self
