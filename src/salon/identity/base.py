"""The contract of resolvers and its models, under the names their users know."""

from salon.core.ports.identity import IdentityResolver
from salon.models.identity import Identity, IdentityHookResult, IdentityResult

__all__ = ["Identity", "IdentityHookResult", "IdentityResolver", "IdentityResult"]
