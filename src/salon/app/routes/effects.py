"""What hooks and agents left in a room: tasks and observations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from salon.app.api_models import Id, TaskPatch
from salon.app.routes.common import ROOM, Caller, Kit, problems
from salon.models import Observation, Task, TaskStatus


def effects() -> APIRouter:
    """``/rooms/{room_id}/tasks``, ``/rooms/{room_id}/observations`` and ``/tasks``."""
    router = APIRouter(tags=["tasks"])

    @router.get("/rooms/{room_id}/tasks", summary="List a room's tasks", responses=ROOM)
    async def tasks(
        room_id: str, access: Caller, kit: Kit, status: TaskStatus | None = None
    ) -> list[Task]:
        """All of them, or those of one status."""
        await access.room(room_id)
        return await kit.list_tasks(room_id, status)

    @router.patch("/tasks/{task_id}", summary="Change a task", responses=problems(404, 422))
    async def change(
        task_id: str,
        asked: TaskPatch,
        access: Caller,
        kit: Kit,
        room_id: Annotated[Id | None, Query()] = None,
    ) -> Task:
        """What is given is replaced. `room_id` is needed where several rooms have a task of this
        id."""
        task = await access.task(task_id, room_id)
        changes = {
            name: value
            for name, value in asked.model_dump(exclude_unset=True).items()
            if value is not None or name in {"description", "assigned_to"}
        }
        return await kit.store.update_task(task.model_copy(update=changes))

    @router.get("/rooms/{room_id}/observations", summary="List observations", responses=ROOM)
    async def observations(room_id: str, access: Caller, kit: Kit) -> list[Observation]:
        """In the order they were made."""
        await access.room(room_id)
        return await kit.list_observations(room_id)

    return router
