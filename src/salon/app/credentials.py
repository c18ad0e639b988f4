"""From a credential to a `Principal`: keys, room tokens, the login cookie, slowing down guesses."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from salon.app.tokens import PREFIX, RoomTokens
from salon.base import LOCAL, SYSTEM_CLOCK, Clock, IdFactory, Principal, new_id
from salon.base.principal import keys_equal

COOKIE = "salon_login"
COOKIE_SECONDS = 7 * 24 * 3600
_COOKIE_LIMIT = 4096


class Credentials:
    """Checks what a request shows: the API key, an organization's key, a room token or a login.

    Without an API key everybody is `LOCAL` who shows no room token. The login cookie is
    ``expires.nonce.signature``; the signature depends on the API key, so that a changed key ends
    every login. Nothing is stored.
    """

    def __init__(
        self,
        api_key: str | None,
        *,
        organization_keys: Mapping[str, str] | None = None,
        tokens: RoomTokens | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ids: IdFactory = new_id,
    ) -> None:
        """`organization_keys` by organization."""
        self._key = api_key
        self._organizations = dict(organization_keys or {})
        self.tokens = tokens or RoomTokens(lambda: (api_key or ids()).encode(), clock=clock)
        self._clock = clock
        self._ids = ids
        self._signing = hashlib.sha256(b"salon login cookie\0" + (api_key or "").encode()).digest()

    @property
    def required(self) -> bool:
        return self._key is not None

    def check_key(self, given: str) -> bool:
        """Whether `given` is the API key."""
        return self._key is not None and keys_equal(given, self._key)

    def principal(self, headers: Mapping[str, str], token: str | None = None) -> Principal | None:
        """Who sends these headers (lower-case names); None if no valid credential is among them.

        `token` is a room token from the query, for browsers, whose sockets and event streams carry
        no headers of their own. Whoever shows a room token is judged by it alone.
        """
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        bearer = bearer.strip() if scheme.lower() == "bearer" else ""
        api_key = headers.get("x-api-key", "")
        for given in (token, bearer, api_key):
            if given and (given is token or given.startswith(PREFIX)):
                return self.tokens.principal(given)
        if self._key is None:
            return LOCAL
        for given in (bearer, api_key):
            if given and (found := self._of_key(given)) is not None:
                return found
        if self._cookie_valid(headers.get("cookie", "")):
            return Principal("login", "key")
        return None

    def _of_key(self, given: str) -> Principal | None:
        found = Principal("key", "key") if self.check_key(given) else None
        for organization, key in self._organizations.items():
            if keys_equal(given, key) and found is None:
                found = Principal(f"organization:{organization}", "organization", organization)
        return found

    def make_cookie(self) -> str:
        """A fresh login cookie's value."""
        body = f"{int(self._clock.time()) + COOKIE_SECONDS}.{self._ids()}"
        return f"{body}.{self._sign(body)}"

    def _sign(self, body: str) -> str:
        return hmac.new(self._signing, body.encode(), hashlib.sha256).hexdigest()

    def _cookie_valid(self, header: str) -> bool:
        if not header or len(header) > _COOKIE_LIMIT or COOKIE not in header:
            return False
        try:
            morsel = SimpleCookie(header).get(COOKIE)
        except CookieError:
            return False
        if morsel is None:
            return False
        body, _, signature = morsel.value.rpartition(".")
        expires, _, nonce = body.partition(".")
        if not nonce or not keys_equal(signature, self._sign(body)):
            return False
        return expires.isdigit() and int(expires) > self._clock.time()


class AttemptLimiter:
    """Lets an address fail `limit` times in `window` seconds; then it has to wait.

    At most `addresses` are remembered, the longest unseen is forgotten first; all addresses
    together may fail `total` times, so that many addresses don't help.
    """

    def __init__(
        self,
        *,
        limit: int = 5,
        window: float = 60.0,
        total: int = 100,
        addresses: int = 4096,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._limit = limit
        self._window = window
        self._addresses = addresses
        self._clock = clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=total)

    def wait(self, address: str) -> int:
        """Whole seconds until `address` may try again; 0 if it may now."""
        waits = (self._left(self._failed.get(address)), self._left(self._all))
        return max(0, math.ceil(max(waits)))

    def _left(self, times: deque[float] | None) -> float:
        if times is None or len(times) != times.maxlen:
            return 0.0
        return times[0] + self._window - self._clock.monotonic()

    def failed(self, address: str) -> None:
        """Remember a wrong credential."""
        now = self._clock.monotonic()
        self._failed.setdefault(address, deque(maxlen=self._limit)).append(now)
        self._failed.move_to_end(address)
        self._all.append(now)
        while len(self._failed) > self._addresses:
            self._failed.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of `address`."""
        self._failed.pop(address, None)
