"""The same curve for TensorBoard, where it is installed (``pip install darkside-cli[tensorboard]``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from darkside_cli.errors import DarksideError, MissingAssetError
from darkside_cli.events import Emit, EpochDone, EvalDone, Event, StepDone, TrainingFinished, TrainingStarted
from darkside_cli.report.scalars import JsonlScalars

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_IMAGES_PER_EVAL = 4
_IMAGE_PX = 1600


def tensorboard_installed() -> bool:
    """Whether TensorBoard can be imported (it is not imported by asking)."""
    return find_spec("tensorboard") is not None


class TensorBoardScalars:
    """Writes training events into ``folder`` for TensorBoard; a context manager, its :meth:`emit` is an event sink.

    Tags are ``loss/NAME`` and ``rate/NAME`` by batch, ``epoch/NAME`` for the means of epochs, ``score/NAME``,
    ``speed/images_per_s``, ``device/memory_bytes``, ``device/utilisation``; the step is the number of batches done
    since the beginning. A run that goes on has TensorBoard forget what lies behind the place where it goes on.
    Images of a validation are shown too, scaled to at most 1600 px.

    Raises MissingAssetError where TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        if not tensorboard_installed():
            raise MissingAssetError(
                "TensorBoard is not installed", hint="pip install 'darkside-cli[tensorboard]'"
            )
        self._folder = Path(folder)
        self._writer: SummaryWriter | None = None
        self._steps = 0

    def __enter__(self) -> TensorBoardScalars:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write out what is not yet written; later events are dropped until a run starts again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def emit(self, event: Event) -> None:
        """Write ``event``, if it has numbers or images."""
        if isinstance(event, TrainingStarted):
            self._start(event)
        elif self._writer is None:
            return
        elif isinstance(event, StepDone):
            at = (event.epoch - 1) * event.steps + event.step
            self._scalars("loss", event.losses, at)
            self._scalars("rate", event.rates, at)
            self._scalars("speed", {"images_per_s": event.images_per_s}, at)
            device = {"memory_bytes": event.memory_bytes, "utilisation": event.utilisation}
            self._scalars("device", {key: value for key, value in device.items() if value is not None}, at)
        elif isinstance(event, EpochDone):
            self._scalars("epoch", event.losses, event.epoch * self._steps)
        elif isinstance(event, EvalDone):
            self._scalars("score", event.scores, event.epoch * self._steps)
            self._images(event)
            self._writer.flush()
        elif isinstance(event, TrainingFinished):
            self._writer.flush()

    def _start(self, event: TrainingStarted) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self._steps = event.steps
        done = event.epoch * event.steps + event.step
        self._writer = SummaryWriter(str(self._folder), purge_step=done + 1 if done else 0)

    def _scalars(self, group: str, values: Mapping[str, float], at: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", float(value), at)

    def _images(self, event: EvalDone) -> None:
        from darkside_cli.images.images import read_image

        for path in event.pictures[:_IMAGES_PER_EVAL]:
            try:
                pixels = read_image(path, max_size_px=_IMAGE_PX).pixels
            except DarksideError:
                continue  # the image's file is what matters; here is only a copy
            # One tag for the images of all epochs, so that TensorBoard's slider goes through them.
            tag = path.stem if len(event.pictures) > 1 else "samples"
            if self._writer is not None:
                self._writer.add_image(tag, pixels, event.epoch * self._steps, dataformats="HWC")


@contextmanager
def scalar_sinks(run: Path, *, facts: Mapping[str, str] | None = None) -> Iterator[Emit]:
    """Record events in ``run/scalars.jsonl``, and in ``run/tensorboard`` where TensorBoard is installed.

    Yields the sink. Everything is closed at the end.
    """
    with ExitStack() as opened:
        sinks: list[Emit] = [opened.enter_context(JsonlScalars(run / "scalars.jsonl", facts=facts)).emit]
        if tensorboard_installed():
            sinks.append(opened.enter_context(TensorBoardScalars(run / "tensorboard")).emit)

        def emit(event: Event) -> None:
            for sink in sinks:
                sink(event)

        yield emit
