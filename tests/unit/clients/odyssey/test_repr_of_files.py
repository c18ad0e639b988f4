"""Presigned addresses are good for whoever reads them, so no repr shows one (O88, O95)."""

from __future__ import annotations

import pytest

from salon.clients.odyssey import Recording, SimulationStream

URLS = ("video_url", "events_url", "thumbnail_url", "preview_url")


@pytest.mark.parametrize("kind", [Recording, SimulationStream])
@pytest.mark.parametrize("name", URLS)
def test_O88_O95_no_address_of_a_file_is_in_repr(
    kind: type[Recording | SimulationStream], name: str
) -> None:
    made = kind.from_dict({"stream_id": "s-1", name: "https://host/file?signature=secret"})
    assert getattr(made, name) == "https://host/file?signature=secret"
    assert "s-1" in repr(made)
    assert "secret" not in repr(made)
