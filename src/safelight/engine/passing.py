"""Text encoders whose weights are in memory only while prompts are read, and are read from the checkpoint's files again.

The networks stay, with what they were taught and with the LoRAs that act on them; only what their weights hold comes and
goes. Knows nothing of families or prompts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from safelight.engine.families.autoencoder import Place
from safelight.errors import EngineFailed

Networks = Mapping[str, nn.Module]


class Passing:
    """Made before the networks are taught anything, while their weights bear the names that the files give them."""

    def __init__(self, networks: Networks, place: Place, read: Callable[[], Networks]) -> None:
        self._weights = _named(networks)
        self._place = place
        self._read = read
        self._there = True
        self._turn = threading.Lock()

    @contextmanager
    def there(self) -> Iterator[None]:
        """As long as prompts are read."""
        with self._turn:
            if not self._there:
                self._come()
            yield

    def go(self) -> None:
        """Their shapes and number type are still known."""
        with self._turn:
            for weight in self._weights.values():
                weight.data = weight.data.new_zeros(()).expand(weight.shape)
            self._there = False

    def _come(self) -> None:
        try:
            networks = self._read()
        except OSError as error:
            raise EngineFailed("The checkpoint's text encoders cannot be read again") from error
        found = _named(networks)
        if _shapes(found) != _shapes(self._weights):
            raise EngineFailed("The checkpoint's files are others than those that it was loaded from")
        for network in networks.values():
            self._place.settle(network)
        for name, weight in self._weights.items():
            weight.data = found[name].data
        self._there = True


def _named(networks: Networks) -> dict[tuple[str, str], nn.Parameter]:
    return {(part, name): weight for part, network in networks.items() for name, weight in network.named_parameters()}


def _shapes(weights: Mapping[tuple[str, str], nn.Parameter]) -> dict[tuple[str, str], object]:
    return {name: weight.shape for name, weight in weights.items()}
