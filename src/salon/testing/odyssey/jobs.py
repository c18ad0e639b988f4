"""The book of simulation jobs: what was submitted and how far it is (O92-O98)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from salon.base import IdFactory, LocalProtocolError
from salon.testing.odyssey import scripts
from salon.testing.odyssey.archive import Kept, iso
from salon.testing.odyssey.exchange import Refusal, usage_detail
from salon.testing.odyssey.settings import Account, StandInSettings

ACTIVE: Final = ("pending", "dispatched", "processing")
OVER: Final = ("completed", "failed", "cancelled")
STATUSES: Final = (*ACTIVE, *OVER)
"""There are no others: clients refuse what they do not know (O98)."""
_NEXT: Final = {
    "pending": ("dispatched", "cancelled"),
    "dispatched": ("processing", "cancelled"),
    "processing": ("completed", "failed"),
}


@dataclass(slots=True)
class Job:
    """One job. Times in Unix seconds; `work` are scripts, or the address of one."""

    id: str
    owner: str
    portrait: bool
    expand: bool
    work: tuple[scripts.Script, ...] | str = field(repr=False)
    created_at: float
    status: str = "pending"
    dispatched_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    error: str | None = None
    region: str | None = None
    streams: list[tuple[int, Kept]] = field(default_factory=list)
    """Finished recordings, each with the index of its script."""


class JobBook:
    """All jobs, oldest first."""

    def __init__(self, settings: StandInSettings, ids: IdFactory) -> None:
        self._settings = settings
        self._ids = ids
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def submit(self, owner: str, account: Account, body: dict[str, Any], now: float) -> Job:
        """A new job. `Refusal` 422 for what can't be rendered, 403 for a bypass that is not
        allowed, 429 if too many wait (O58a)."""
        portrait, output = body.get("portrait", True), body.get("output_video", True)
        bypass = body.get("bypass_vlm_expansion")
        if not isinstance(portrait, bool) or output is not True:
            raise Refusal(422, "portrait must be a boolean and output_video true")
        if bypass is not None and not isinstance(bypass, bool):
            raise Refusal(422, "bypass_vlm_expansion must be a boolean")
        if bypass and not account.may_bypass:
            raise Refusal(403, "this account may not bypass prompt expansion")
        work = scripts.sources(body, self._settings)
        waiting = sum(j.owner == owner and j.status in ACTIVE for j in self._jobs.values())
        most = self._settings.queued_jobs
        if most is not None and waiting >= most:
            detail = usage_detail(
                "RATE_LIMITED", f"{waiting} of {most} jobs are waiting", "Wait for one to end"
            )
            raise Refusal(429, detail)
        job = Job(self._ids(), owner, portrait, not bypass, work, now)
        self._jobs[job.id] = job
        self._forget_old()
        return job

    def _forget_old(self) -> None:
        over = [job.id for job in self._jobs.values() if job.status in OVER]
        for job_id in over[: max(0, len(self._jobs) - self._settings.most_kept)]:
            del self._jobs[job_id]

    def owned(self, job_id: str, owner: str, refusal: str) -> Job:
        """`Refusal` 404 if there is none, 403 with `refusal` if it is another account's."""
        job = self._jobs.get(job_id)
        if job is None:
            raise Refusal(404, "Simulation job not found")
        if job.owner != owner:
            raise Refusal(403, refusal)
        return job

    def cancel(self, job_id: str, owner: str, now: float) -> Job:
        """Only what does not run yet can be cancelled; else `Refusal` 400 (O97)."""
        job = self.owned(job_id, owner, "Not authorized to cancel this simulation job")
        if job.status not in ("pending", "dispatched"):
            raise Refusal(400, f"Cannot cancel a simulation job that is {job.status}")
        self.move(job, "cancelled", now)
        return job

    def listed(
        self, owner: str, *, status: str | None, active: bool | None, limit: int, offset: int
    ) -> dict[str, Any]:
        """The reply of O96, newest first."""
        found = [
            job
            for job in reversed(self._jobs.values())
            if job.owner == owner
            and (status is None or job.status == status)
            and (active is None or (job.status in ACTIVE) is active)
        ]
        names = ("job_id", "status", "priority", "created_at", "completed_at", "error_message")
        return {
            "jobs": [
                {name: described(job)[name] for name in names}
                for job in found[offset : offset + limit]
            ],
            "total": len(found),
            "limit": limit,
            "offset": offset,
        }

    def next_in(self, status: str) -> Job | None:
        """The oldest job of a status."""
        return next((job for job in self._jobs.values() if job.status == status), None)

    def move(self, job: Job, status: str, now: float, *, error: str | None = None) -> None:
        """A job goes on. `LocalProtocolError` for a step that does not exist."""
        if status not in _NEXT.get(job.status, ()):
            raise LocalProtocolError(f"a job does not go from {job.status} to {status}")
        job.status, job.error = status, error
        if status == "dispatched":
            job.dispatched_at, job.region = now, (self._settings.regions or ("local",))[0]
        elif status == "processing":
            job.started_at = now
        else:
            job.completed_at = now


def described(job: Job) -> dict[str, Any]:
    """The fields of O94, without streams."""
    return {
        "job_id": job.id,
        "status": job.status,
        "priority": "normal",
        "created_at": iso(job.created_at),
        "dispatched_at": iso(job.dispatched_at),
        "started_at": iso(job.started_at),
        "completed_at": iso(job.completed_at),
        "error_message": job.error,
        "assigned_region": job.region,
        "retry_count": 0,
        "estimated_wait_minutes": 0 if job.status == "pending" else None,
        "streams": [],
    }


def detailed(job: Job, recording: Callable[[Kept], dict[str, Any]]) -> dict[str, Any]:
    """The fields of O95; `recording` gives those of O88."""
    streams = [{**recording(kept), "script_index": index} for index, kept in job.streams]
    return {**described(job), "streams": streams}
