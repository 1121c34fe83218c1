"""The settings of a training run: length, optimizer and schedule, precision, validation, checkpoints, devices."""

import re
from typing import Literal

from hiperceiver.settings.base import Count, CountOrZero, NonNegative, Positive, Probability, Settings, Share

Precision = Literal["32", "bf16"]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
Strategy = Literal["auto", "ddp", "fsdp"]
OptimizerName = Literal["muon", "adamw", "lamb"]
NonFinite = Literal["stop", "skip"]

DEFAULT_STEPS = 10_000
"""Length of a run for which neither `steps` nor `max_time` is given."""

_CLOCK = r"(\d+):([0-5]?\d):([0-5]?\d)"
_UNITS = "".join(rf"(?:(\d+\.?\d*|\.\d+){unit})?" for unit in "hms")


def parse_duration(text: str) -> float:
    """Seconds in a length of time: "HH:MM:SS", or numbers with units such as "90s", "4m", "1.5h", "1h30m".

    Raises:
        ValueError: it reads otherwise, or is not longer than nothing.

    >>> parse_duration("00:04:00"), parse_duration("1h30m"), parse_duration("90s")
    (240.0, 5400.0, 90.0)
    """
    stripped = str(text).strip()
    match = re.fullmatch(_CLOCK, stripped) or re.fullmatch(_UNITS, stripped)
    hours, minutes, rest = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    seconds = 3600 * hours + 60 * minutes + rest
    if seconds <= 0:
        raise ValueError(f'expected a length of time such as "00:04:00", "90s", "4m" or "1h30m", got {text!r}')
    return seconds


def format_duration(seconds: float) -> str:
    """A length of time as a person reads it.

    >>> format_duration(7), format_duration(3725)
    ('0:07', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ComputeSettings(Settings):
    """What training and measuring run on, and how many unreadable examples they accept."""

    precision: Precision = "32"
    """Type of the numbers. `32`: float32; `bf16`: bfloat16 where it is safe, float32 weights."""
    accelerator: Accelerator = "auto"
    """Kind of device; auto: a GPU if there is one."""
    max_bad_share: Share = 0.1
    """Largest share of examples that may be unreadable before the run fails."""
    strict: bool = False
    """Fail at the first unreadable example."""


class ProbeSettings(Settings):
    """Probe."""

    probe_train: Count = 1000
    """Training examples that a probe of the latents learns labels from, at most; always the same ones."""
    probe_validation: Count = 500
    """Validation examples whose latents are looked at, at most; always the same ones."""


class TrainingSettings(ComputeSettings):
    """How a run is trained. A run ends after `steps` or after `max_time`, whichever comes first.

    >>> TrainingSettings(max_time="4m", batch_size=16).max_seconds
    240.0
    """

    steps: Count | None = None
    """Optimizer steps of the run; None: as many as fit into `max_time`, or 10,000 if that is not given either."""
    max_time: str | None = None
    """Time of the run: "HH:MM:SS", "90s", "4m" or "1h30m", a resumed run's earlier parts included; the last validation
    comes on top."""
    batch_size: Count = 32
    """Examples in a batch, of all devices together: each takes an equal part."""
    accumulate: Count = 1
    """Batches of an optimizer step, whose gradient is that of one large batch of all their examples."""
    optimizer: OptimizerName = "muon"
    """muon: Muon for the matrices of linear layers, AdamW for all other weights; adamw: AdamW for all; lamb: LAMB for
    all, as Perceiver IO was trained (needs the package pytorch-optimizer)."""
    learning_rate: Positive = 1e-3
    """Highest learning rate, reached after the warm-up."""
    final_learning_rate: Share = 0.01
    """Learning rate at the end of the run, as a share of the highest; a cosine leads there."""
    warmup: Probability = 0.05
    """Share of the run during which the learning rate rises from zero."""
    flat: Probability = 0.0
    """Share of the run after the warm-up during which the learning rate stays at its highest, before the cosine."""
    weight_decay: NonNegative = 0.05
    """Decay of the matrices of linear layers; biases, norms, latents and projections of positions never decay."""
    position_rate: Positive = 5.0
    """Learning rate of learned position tables, as a multiple of `learning_rate`."""
    position_decay: NonNegative = 0.0
    """Decay of learned position tables."""
    embedding_rate: Positive = 8.0
    """Learning rate of the vectors of categories, such as groups of bytes, as a multiple of `learning_rate`: most
    categories come in few examples."""
    gradient_clip: Positive | None = 1.0
    """Longest gradient (L2 norm over all weights) that is not shortened; None: never shortened."""
    non_finite: NonFinite = "stop"
    """What follows a step whose loss or gradient is NaN or infinite. stop: the run ends, and names the step and its
    examples; skip: the step is left out and counted, up to 10 in a row."""
    ema: Probability = 0.0
    """Decay of the moving average of the weights that is validated and saved, such as 0.999; 0: no average."""
    compile: bool = False
    """Compile the training step with torch.compile."""
    seed: CountOrZero = 0
    """Seed of everything random: order of the data, masks, dropout."""
    validate_every: Count | None = None
    """Optimizer steps between validations; None: ten times in the run, fewer where that would take more than a tenth
    of it. The last weights are always validated, whatever that takes."""
    log_every: Count = 10
    """Optimizer steps between rows in the logs."""
    checkpoint_every: Count | None = None
    """Optimizer steps between checkpoints, as well as those by time; None: by time alone."""
    checkpoint_every_seconds: Positive = 30.0
    """Seconds between checkpoints; longer if saving took more than a twentieth of that."""
    num_workers: CountOrZero | None = None
    """Processes that load data; None: none with a CPU, which they would take from training, up to 8 with a GPU."""
    devices: Count | None = None
    """Devices on each machine, each with a process of its own; on the CPU the processes alone. None: as many
    as torchrun or SLURM started, 1 without them."""
    num_nodes: Count | None = None
    """Machines. None: those of torchrun or SLURM, 1 without them."""
    strategy: Strategy = "auto"
    """How several devices share the work. ddp: each holds the whole model and they average gradients; fsdp: each holds
    a part of every weight, of its gradient and of the optimizer's state; auto: ddp."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_time is not None:
            try:
                parse_duration(self.max_time)
            except ValueError as error:
                raise ValueError(f"max_time: {error}") from None
        if self.steps is None and self.max_time is None:
            object.__setattr__(self, "steps", DEFAULT_STEPS)
        if self.warmup + self.flat >= 1:
            raise ValueError(f"flat: expected less than {1 - self.warmup:g}, which the warmup leaves, got {self.flat}")

    @property
    def max_seconds(self) -> float | None:
        """`max_time` in seconds."""
        return None if self.max_time is None else parse_duration(self.max_time)
