"""The call protocol as one JSON Schema document, made from the models themselves."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from salon.gateway.commands import COMMAND_TYPES
from salon.gateway.events import EVENT_TYPES


class _WireSchema(GenerateJsonSchema):
    """Events never carry null (G3), so their schema doesn't allow it."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        if self.mode == "serialization":
            return self.generate_inner(schema["schema"])
        return super().nullable_schema(schema)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if self.mode == "serialization" and schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def call_protocol_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every command and event.

    `commands` and `events` map a name on the wire to its schema; the document itself matches any
    command or event. Unknown keys are allowed everywhere (G2).
    """
    references, document = models_json_schema(
        [
            *((model, "validation") for model in COMMAND_TYPES.values()),
            *((model, "serialization") for model in EVENT_TYPES.values()),
        ],
        by_alias=True,
        schema_generator=_WireSchema,
    )
    commands = {
        name: references[model, "validation"] for name, model in sorted(COMMAND_TYPES.items())
    }
    events = {
        name: references[model, "serialization"] for name, model in sorted(EVENT_TYPES.items())
    }
    definitions = document["$defs"]
    for name, reference in (*commands.items(), *events.items()):
        model = definitions[reference["$ref"].removeprefix("#/$defs/")]
        discriminator = "command" if name in commands and reference is commands[name] else "event"
        model["required"] = sorted({discriminator, *model.get("required", ())})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Call protocol",
        "anyOf": [*commands.values(), *events.values()],
        "commands": commands,
        "events": events,
        "$defs": definitions,
    }
