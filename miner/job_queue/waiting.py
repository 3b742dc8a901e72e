"""One line of generations that wait, in the order in which they will begin."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from miner.job_queue.generation import Generation, Order

_Item = tuple[Order, Generation]


class Waiting:
    """A sorted list: finding a place takes logarithmic time, inserting moves some pointers."""

    def __init__(self) -> None:
        # Ascending, so that the next one is at the end. Orders differ: no two have one arrival.
        self._items: list[_Item] = []
        self._orders: dict[int, Order] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Generation]:
        """Next first."""
        return iter([generation for _, generation in reversed(self._items)])

    @property
    def first(self) -> Generation:
        """The next one."""
        return self._items[-1][1]

    def add(self, generation: Generation) -> None:
        """Puts one where its order says, or moves it there if its order has changed."""
        order = generation.order()
        if self._orders.get(generation.arrival) == order:
            return
        self.discard(generation)
        self._orders[generation.arrival] = order
        insort(self._items, (order, generation), key=_order)

    def discard(self, generation: Generation) -> None:
        """Takes one out, if it is there."""
        order = self._orders.pop(generation.arrival, None)
        if order is not None:
            del self._items[bisect_left(self._items, order, key=_order)]

    def ahead_of(self, order: Order) -> int:
        """How many would begin before one of this order."""
        return len(self._items) - bisect_right(self._items, order, key=_order)


def _order(item: _Item) -> Order:
    return item[0]
