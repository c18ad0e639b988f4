"""Who and what is in a room, in a SQL database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from salon.core.errors import ChannelNotFoundError, ParticipantNotFoundError, RoomNotFoundError
from salon.core.ports.store import TaskNotFoundError
from salon.models import ChannelBinding, Observation, Participant, Task, TaskStatus
from salon.store import rows
from salon.store.queries import (
    SqlPart,
    Statement,
    dialect_insert,
    documents,
    lock,
    turn,
    upsert,
)
from salon.store.schema import (
    bindings,
    events,
    observations,
    participants,
    read_markers,
    rooms,
    tasks,
)

_PUT_BINDING = upsert(bindings, "channel_id", "channel_type", "recipient")
_PUT_PARTICIPANT = upsert(participants, "id", "status", "external_id")
_PUT_TASK = upsert(tasks, "id", "status")


class SqlMembers(SqlPart):
    """Bindings, participants, tasks, observations, read markers."""

    async def _put(self, statement: Statement, values: dict[str, Any]) -> None:
        """Into a room, whose revision moves."""

        def work(connection: Connection) -> None:
            turn(connection, values["room_id"])
            connection.execute(statement(connection.dialect.name), values)

        await self._database.write(work)

    async def _insert(self, statement: Statement, values: dict[str, Any]) -> None:
        """Into a room, whose revision stays."""

        def work(connection: Connection) -> None:
            connection.execute(statement(connection.dialect.name), values)

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise RoomNotFoundError(values["room_id"]) from error

    async def _change(
        self, table: Table, name: str, values: dict[str, Any], unknown: Exception, *, turns: bool
    ) -> None:
        """Replace a row; raises `unknown` if it is not there."""
        this = (table.c.room_id == values["room_id"]) & (table.c[name] == values[name])
        statement = update(table).where(this).values(values)

        def work(connection: Connection) -> None:
            if turns:
                try:
                    turn(connection, values["room_id"])
                except RoomNotFoundError:
                    raise unknown from None
            if not connection.execute(statement).rowcount:
                raise unknown

        await self._database.write(work)

    async def _remove(self, table: Table, room_id: str, name: str, value: str) -> bool:
        statement = delete(table).where(table.c.room_id == room_id, table.c[name] == value)

        def work(connection: Connection) -> bool:
            # The room first, as everybody does: who takes locks in another order may deadlock.
            if not (lock(connection, room_id) and connection.execute(statement).rowcount):
                return False
            turn(connection, room_id)
            return True

        return await self._database.write(work)

    # -- bindings ---------------------------------------------------------------------------------

    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        await self._put(_PUT_BINDING, rows.binding_row(binding))
        return binding

    async def update_binding(self, binding: ChannelBinding) -> ChannelBinding:
        unknown = ChannelNotFoundError(binding.room_id, binding.channel_id)
        values = rows.binding_row(binding)
        await self._change(bindings, "channel_id", values, unknown, turns=True)
        return binding

    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None:
        query = select(bindings.c.document).where(
            bindings.c.room_id == room_id, bindings.c.channel_id == channel_id
        )
        return await self._first(query, rows.binding_from)

    async def remove_binding(self, room_id: str, channel_id: str) -> bool:
        return await self._remove(bindings, room_id, "channel_id", channel_id)

    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        return await self._all(documents(bindings, room_id), rows.binding_from)

    # -- participants -----------------------------------------------------------------------------

    async def add_participant(self, participant: Participant) -> Participant:
        await self._put(_PUT_PARTICIPANT, rows.participant_row(participant))
        return participant

    async def update_participant(self, participant: Participant) -> Participant:
        unknown = ParticipantNotFoundError(participant.room_id, participant.id)
        values = rows.participant_row(participant)
        await self._change(participants, "id", values, unknown, turns=True)
        return participant

    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None:
        query = select(participants.c.document).where(
            participants.c.room_id == room_id, participants.c.id == participant_id
        )
        return await self._first(query, rows.participant_from)

    async def remove_participant(self, room_id: str, participant_id: str) -> bool:
        return await self._remove(participants, room_id, "id", participant_id)

    async def list_participants(self, room_id: str) -> list[Participant]:
        return await self._all(documents(participants, room_id), rows.participant_from)

    # -- side effects -----------------------------------------------------------------------------

    async def add_task(self, task: Task) -> Task:
        await self._insert(_PUT_TASK, rows.task_row(task))
        return task

    async def get_task(self, task_id: str) -> Task | None:
        query = select(tasks.c.document).where(tasks.c.id == task_id).order_by(tasks.c.seq)
        return await self._first(query.limit(1), rows.task_from)

    async def update_task(self, task: Task) -> Task:
        unknown = TaskNotFoundError(task.room_id, task.id)
        await self._change(tasks, "id", rows.task_row(task), unknown, turns=False)
        return task

    async def list_tasks(self, room_id: str, status: TaskStatus | None = None) -> list[Task]:
        query = documents(tasks, room_id)
        if status is not None:
            query = query.where(tasks.c.status == str(status))
        return await self._all(query, rows.task_from)

    async def add_observation(self, observation: Observation) -> Observation:
        await self._insert(lambda _: insert(observations), rows.observation_row(observation))
        return observation

    async def list_observations(self, room_id: str) -> list[Observation]:
        return await self._all(documents(observations, room_id), rows.observation_from)

    # -- read markers -----------------------------------------------------------------------------

    async def mark_read(self, room_id: str, channel_id: str, event_id: str) -> None:
        await self._mark(
            select(events.c.room_id, literal(channel_id), events.c["index"]).where(
                events.c.room_id == room_id, events.c.id == event_id
            )
        )

    async def mark_all_read(self, room_id: str, channel_id: str) -> None:
        await self._mark(
            select(rooms.c.id, literal(channel_id), rooms.c.latest_index).where(
                rooms.c.id == room_id, rooms.c.latest_index.is_not(None)
            )
        )

    async def _mark(self, source: Any) -> None:
        number = read_markers.c["index"]

        def work(connection: Connection) -> None:
            statement = dialect_insert(connection.dialect.name, read_markers).from_select(
                ["room_id", "channel_id", "index"], source
            )
            further = statement.excluded["index"]
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["room_id", "channel_id"],
                    set_={"index": further},
                    where=number < further,
                )
            )

        await self._database.write(work)

    async def get_unread_count(self, room_id: str, channel_id: str) -> int:
        marked = (
            select(read_markers.c["index"])
            .where(read_markers.c.room_id == room_id, read_markers.c.channel_id == channel_id)
            .scalar_subquery()
        )
        query = select(func.count().label("count")).where(
            events.c.room_id == room_id, events.c["index"] > func.coalesce(marked, -1)
        )
        return sum(await self._all(query, lambda row: int(row["count"])))

    async def list_read_markers(self, room_id: str) -> dict[str, int]:
        query = select(read_markers).where(read_markers.c.room_id == room_id)
        found = await self._all(query, lambda row: (str(row["channel_id"]), int(row["index"])))
        return dict(found)
