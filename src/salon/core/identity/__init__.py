"""Who sent a message: resolver, hooks, and what follows from their answers (chapter 16)."""

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

__all__ = [
    "Actions",
    "Block",
    "IdentityAction",
    "IdentityHook",
    "IdentityHookRegistration",
    "IdentityHooks",
    "IdentityStage",
    "KeepPending",
    "SendChallenge",
    "StoreIdentity",
    "UseIdentity",
    "decide",
    "hook_for",
    "identified",
    "kept_pending",
]
