"""Floor 4: who the people behind the addresses are.

`IdentityResolver` is the contract; `InMemoryIdentityResolver` and `StoreIdentityResolver` look
addresses up. `IdentityStage` asks resolver and hooks, `decide` says what follows.
"""

from salon.core.identity.decision import (
    Actions,
    Block,
    IdentityAction,
    IdentityHook,
    KeepPending,
    SendChallenge,
    StoreIdentity,
    UseIdentity,
    decide,
    hook_for,
    identified,
    kept_pending,
)
from salon.core.identity.hooks import IdentityHookRegistration, IdentityHooks
from salon.core.identity.stage import IdentityStage
from salon.core.ports.identity import IdentityResolver
from salon.identity.directory import (
    IdentityLookup,
    InMemoryIdentityResolver,
    StoreIdentityResolver,
)
from salon.identity.mock import MockIdentityResolver
from salon.models.identity import Identity, IdentityHookResult, IdentityResult

__all__ = [
    "Actions",
    "Block",
    "Identity",
    "IdentityAction",
    "IdentityHook",
    "IdentityHookRegistration",
    "IdentityHookResult",
    "IdentityHooks",
    "IdentityLookup",
    "IdentityResolver",
    "IdentityResult",
    "IdentityStage",
    "InMemoryIdentityResolver",
    "KeepPending",
    "MockIdentityResolver",
    "SendChallenge",
    "StoreIdentity",
    "StoreIdentityResolver",
    "UseIdentity",
    "decide",
    "hook_for",
    "identified",
    "kept_pending",
]
