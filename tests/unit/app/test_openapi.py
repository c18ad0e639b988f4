"""The description of the interface is whole."""

from __future__ import annotations

from typing import Any

import pytest

from salon.app.application import create_app
from salon.app.openapi import _TAGS
from salon.app.settings import Settings

from .rest import small_house


@pytest.fixture
def described(settings: Settings) -> dict[str, Any]:
    app = create_app(settings, build=small_house)
    assert app.openapi() is app.openapi()
    return app.openapi()


def operations(described: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_says_what_it_does(described: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in _TAGS}
    for name, operation in operations(described):
        assert operation.get("summary"), name
        assert operation.get("description"), name
        assert set(operation["tags"]) <= tags, name
        assert operation["tags"], name


def test_every_answer_has_a_form(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        for status, answer in operation["responses"].items():
            if status == "204":
                assert "content" not in answer, name
                continue
            if name.split()[1].startswith("/webhooks") and status == "200":
                continue  # whatever the provider wants to read
            (content,) = answer["content"].values()
            schema = content["schema"]
            assert schema, f"{name} {status}"
            if status >= "400":
                if "text/plain" in answer["content"]:
                    continue
                reference = schema["$ref"].rpartition("/")[2]
                known = {"Problem", "Readiness", "Ended", "NotCached"}
                assert reference in known, f"{name} {status}"


def test_every_route_names_its_refusals(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        statuses = set(operation["responses"])
        assert "403" in statuses, name
        if "{" in name and "/webhooks" not in name:
            assert "404" in statuses, name
        if "requestBody" in operation or operation.get("parameters"):
            assert statuses & {"422", "404"}, name
        if "/webhooks" not in name:
            assert "401" in statuses, name


def test_credentials_are_described(described: dict[str, Any]) -> None:
    assert set(described["components"]["securitySchemes"]) == {"bearer", "key"}
    assert described["security"] == [{"bearer": []}, {"key": []}]
    found = dict(operations(described))
    assert found["GET /health"]["security"] == []
    assert "security" not in found["GET /rooms"]


def test_names_are_told_apart(described: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(described)]
    assert len(ids) == len(set(ids))


def test_the_description_is_openapi(described: dict[str, Any]) -> None:
    """Every reference leads somewhere, every path parameter is declared."""
    from fastapi.openapi.models import OpenAPI

    OpenAPI.model_validate(described)
    schemas = described["components"]["schemas"]

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                assert reference.startswith("#/components/schemas/"), reference
                assert reference.rpartition("/")[2] in schemas, reference
            for item in node.values():
                walk(item)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk(described)
    for name, operation in operations(described):
        declared = {
            item["name"] for item in operation.get("parameters", []) if item["in"] == "path"
        }
        in_path = {part.split("}")[0] for part in name.split("{")[1:]}
        assert declared == in_path, name
