"""Night as an augmentation for anybody's training code: :class:`NightAugment`."""

from __future__ import annotations

import warnings
from pathlib import Path

from darkside_cli.assets.caches import NIGHT_CACHE
from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, ignore
from darkside_cli.methods.night import load_night
from darkside_cli.networks.locate import default_generator
from darkside_cli.retrieval.mining.config import NightOptions
from darkside_cli.retrieval.mining.night import ExposureNight, GammaNight, NightMaker
from darkside_cli.retrieval.mining.night_cache import NightCache
from darkside_cli.retrieval.mining.night_share import NightShare, is_number

_DEFAULTS = NightOptions()


class NightAugment(NightShare):
    """Turns a share of the images of a training to night: ``NightAugment("darkside-night", share=0.25, seed=0)``.

    An ``nn.Module`` on batches ``(B, 3, H, W)`` of RGB in [0, 1] on any device, before they are normalised; and a
    transform of PIL images, alone or in samples, in a loader. See :meth:`forward` and :meth:`set_epoch`.

    ``generators`` are names or paths, as ``load_generator`` takes them, of which one is drawn for each image; "gamma"
    and "exposure" darken without a generator. None at all is the default one, ``hedngan``, or as long as it is not on
    this machine ``darkside-night``, which a UserWarning says. Generators that can make several nights
    of a day make another one each time. ``cache`` keeps nights on disk, by what an image shows, in the folder given
    or (True) where ``finetune`` keeps its own, up to ``cache_gb`` of them: for images that come again as they are.
    ``share``, ``seed`` and the rest are those of :class:`darkside_cli.retrieval.mining.night_share.NightShare`.

    Raises MissingAssetError if weights are not on this machine, CheckpointError if they are no generator's,
    UsageError for what cannot be meant.
    """

    def __init__(
        self,
        *generators: str | Path | NightMaker,
        share: float = 0.25,
        seed: int | None = None,
        cache: bool | Path | str = False,
        cache_gb: float = _DEFAULTS.cache_gb,
        data_dir: Path | str | None = None,
        emit: Emit = ignore,
    ) -> None:
        root = data_root(Path(data_dir) if data_dir is not None else None)
        if not generators:
            name, said = default_generator(root)
            generators = (name,)
            if said is not None:
                warnings.warn(said, UserWarning, stacklevel=2)
        if not (is_number(cache_gb) and cache_gb >= 0):
            raise UsageError(f"the room for nights is {cache_gb!r}", hint="cache_gb=10 is ten gigabytes")
        makers = [_maker(each, root) for each in generators]
        folder = root / NIGHT_CACHE.folder if cache is True else Path(cache) if cache else None
        kept = None if folder is None else NightCache(folder, int(cache_gb * 1e9), emit=emit)
        super().__init__(makers, share=share, seed=seed, cache=kept)


def _maker(generator: str | Path | NightMaker, root: DataRoot) -> NightMaker:
    if generator == "gamma":
        return GammaNight(*_DEFAULTS.gamma)
    if generator == "exposure":
        return ExposureNight(*_DEFAULTS.stops)
    if isinstance(generator, (str, Path)):
        return load_night(generator, root)
    if hasattr(generator, "fingerprint"):
        return generator
    several = isinstance(generator, (list, tuple, set))
    raise UsageError(
        f"a {type(generator).__name__} is no generator's name or path",
        hint='give them one by one: NightAugment("hedngan", "gamma")' if several else '"hedngan" or "gamma"',
    )
