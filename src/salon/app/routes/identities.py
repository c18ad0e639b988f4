"""Who people are across rooms."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from salon.app.api_models import Id, IdentityIn, IdentityPatch, Key
from salon.app.guests import path_id
from salon.app.problems import ExistsError
from salon.app.routes.common import Caller, Kit, problems
from salon.base import new_id
from salon.core.errors import IdentityNotFoundError
from salon.models import Identity

_MAY_BE_UNKNOWN = frozenset({"display_name", "email", "phone", "external_id"})


def identities() -> APIRouter:
    """``/identities``."""
    router = APIRouter(prefix="/identities", tags=["identities"])

    @router.post("", status_code=201, summary="Make an identity", responses=problems(409, 422))
    async def create(asked: IdentityIn, access: Caller, kit: Kit) -> Identity:
        """Somebody new, with their addresses; no two have the same one in an organization."""
        organization_id = access.owner(asked.organization_id)
        identity_id = new_id() if asked.id is None else path_id(asked.id, "identity id")
        if await kit.store.get_identity(identity_id) is not None:
            raise ExistsError("identity", identity_id)
        known = asked.model_dump() | {"id": identity_id, "organization_id": organization_id}
        return await kit.store.create_identity(Identity(**known))

    @router.get("/resolve", summary="Find by address", responses=problems(404, 422))
    async def resolve(
        access: Caller,
        kit: Kit,
        channel_type: Annotated[Key, Query()],
        address: Annotated[Key, Query()],
        organization_id: Annotated[Id | None, Query()] = None,
    ) -> Identity:
        """Whose address it is in this organization, or in none."""
        owner = access.owner(organization_id)
        found = await kit.store.resolve_identity(channel_type, address, owner)
        if found is None:
            raise IdentityNotFoundError(address)
        return found

    @router.get("/{identity_id}", summary="Read an identity", responses=problems(404, 422))
    async def read(identity_id: str, access: Caller) -> Identity:
        """Somebody by id."""
        return await access.identity(identity_id)

    @router.patch("/{identity_id}", summary="Change an identity", responses=problems(404, 409, 422))
    async def change(identity_id: str, asked: IdentityPatch, access: Caller, kit: Kit) -> Identity:
        """What is given is replaced, addresses included."""
        known = await access.identity(identity_id)
        changes = {
            name: value
            for name, value in asked.model_dump(exclude_unset=True).items()
            if value is not None or name in _MAY_BE_UNKNOWN
        }
        return await kit.store.update_identity(known.model_copy(update=changes))

    return router
