"""A logger for workflow code: each line goes out once, however often the code is replayed."""

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from flowactor.workflow.context import ACTIVE

__all__ = ["logger"]

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class ReplaySafeLogger(_Adapter):
    """Silent in standbys, replays and queries. Lines carry ``workflow_id`` and ``run_id``."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # the standard library's name
        scheduler = ACTIVE.scheduler
        return (scheduler is None or scheduler.live) and self.logger.isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        scheduler = ACTIVE.scheduler
        if scheduler is not None:
            info = scheduler.info
            ids = {"workflow_id": info.workflow_id, "run_id": info.run_id}
            kwargs["extra"] = {**ids, **kwargs.get("extra", {})}
        return msg, kwargs


logger: Final = ReplaySafeLogger(logging.getLogger("flowactor.run"), {})
