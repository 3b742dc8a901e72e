"""What jobs leave on a device: whether more live tensors stay after each of them.

Models that come and go are no leak. So each set of them that is on the device has its own measure,
the least that was held with it after any job of this life.
"""

from __future__ import annotations


class DeviceGrowth:
    """Of one life of a worker."""

    def __init__(self) -> None:
        self._least: dict[str, int] = {}

    def after_job(self, visitors: str, allocated_bytes: int) -> int:
        """Bytes more than after the job that left the least.

        Args:
            visitors: names of the models on the device that do not stay there.
            allocated_bytes: of live tensors.
        """
        least = min(allocated_bytes, self._least.get(visitors, allocated_bytes))
        self._least[visitors] = least
        return allocated_bytes - least
