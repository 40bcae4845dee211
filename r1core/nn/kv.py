"""The decoder's key and value cache: appended in place, rows moved only into holes, few allocations.

Rows are right-aligned: the last token of every row lies in the last used slot, and a shorter row has slots before it
that the mask hides (they hold finite numbers). Shapes: R rows, H heads, S slots, D head size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

GROW_SLOTS = 64
"""Free slots that a full buffer gets."""


class Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values. Slots `first` to `used` of rows 0 to `rows` are live; the rest is room."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.buffers: list[Tensor] = []
        self.rows = 0
        self.first = 0
        self.used = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append (R, H, n, D); returns all that is live, (R, H, S, D) each."""
        new = key_states.shape[2]
        if not self.buffers:
            self.rows = key_states.shape[0]
            self._allocate(key_states, value_states, rows=self.rows, slots=new)
        elif self.used + new > self.buffers[0].shape[2]:
            rows = self.buffers[0].shape[0]
            self._resize(rows=rows, width=self.used - self.first, room=new + GROW_SLOTS)
        keys, values = self.buffers
        begin, self.used = self.used, self.used + new
        keys[: self.rows, :, begin : self.used] = key_states
        values[: self.rows, :, begin : self.used] = value_states
        return keys[: self.rows, :, self.first : self.used], values[: self.rows, :, self.first : self.used]

    def get_seq_length(self) -> int:
        """How many slots are live."""
        return self.used - self.first

    def make_room(self, like: Layer, *, rows: int, width: int, room: int) -> None:
        """Be able to hold `rows` rows of `width` tokens, and to append `room` more."""
        if not self.buffers:
            self._allocate(*like.buffers, rows=rows, slots=width + room)
            self.first = self.used = width
            return
        capacity, _, slots, _ = self.buffers[0].shape
        if rows > capacity or self.used < width or self.used + room > slots:
            self._resize(rows=rows, width=max(width, self.used - self.first), room=room)

    def admit(self, other: Layer, index: Tensor) -> None:
        """Append the rows `index` (with repeats) of another layer, for which there is room."""
        begin, self.rows = self.rows, self.rows + len(index)
        width = other.used - other.first
        for mine, theirs in zip(self.buffers, other.buffers, strict=True):
            mine[begin : self.rows, :, : self.used - width] = 0
            live = theirs[:, :, other.first : other.used]
            mine[begin : self.rows, :, self.used - width : self.used] = live.index_select(0, index)
        self.first = min(self.first, self.used - width)

    def keep(self, holes: Tensor, movers: Tensor, *, rows: int, width: int) -> None:
        """Move the rows `movers` into `holes`; then only the first `rows` rows and last `width` slots are live."""
        self.first, self.rows = self.used - width, rows
        for buffer in self.buffers:
            live = buffer[:, :, self.first : self.used]
            live.index_copy_(0, holes, live.index_select(0, movers))

    def _allocate(self, keys: Tensor, values: Tensor, *, rows: int, slots: int) -> None:
        self.buffers = [like.new_empty((rows, like.shape[1], slots, like.shape[3])) for like in (keys, values)]

    def _resize(self, *, rows: int, width: int, room: int) -> None:
        """New buffers; what is live ends at slot `width`."""
        live = self.used - self.first
        old = [buffer[: self.rows, :, self.first : self.used] for buffer in self.buffers]
        self._allocate(*self.buffers, rows=rows, slots=width + room)
        for buffer, part in zip(self.buffers, old, strict=True):
            buffer[: self.rows, :, : width - live] = 0
            buffer[: self.rows, :, width - live : width] = part
        self.first, self.used = width - live, width


class KVCache(Cache):
    """One `Layer` for each layer of the model."""

    def __init__(self, layers: int) -> None:
        self.own = [Layer() for _ in range(layers)]
        super().__init__(layers=[*self.own])

    @property
    def live(self) -> int:
        """How many slots are live."""
        return self.own[0].get_seq_length()

    def admit(self, other: KVCache, index: Tensor, *, rows: int, width: int, room: int) -> None:
        """Append rows of another cache, after making room for `rows` rows of `width` tokens and `room` more."""
        for mine, theirs in zip(self.own, other.own, strict=True):
            mine.make_room(theirs, rows=rows, width=width, room=room)
            mine.admit(theirs, index)

    def keep(self, holes: Tensor, movers: Tensor, *, rows: int, width: int) -> None:
        """Move rows into holes and forget the rest."""
        for layer in self.own:
            layer.keep(holes, movers, rows=rows, width=width)
