"""What schemathesis does not look at by itself: that every line of an answer of lines is one that is described."""

import json
import pathlib

import jsonschema_rs
import schemathesis

DESCRIPTION = json.loads(pathlib.Path("openapi.json").read_text())
LINES = "application/x-ndjson"


@schemathesis.check
def every_line_is_described(ctx, response, case):
    if not response.headers.get("content-type", [""])[0].startswith(LINES):
        return
    operation = DESCRIPTION["paths"][case.operation.path][case.method.lower()]
    schema = operation["responses"][str(response.status_code)]["content"][LINES].get("schema")
    if schema is None:
        return
    validator = jsonschema_rs.Draft202012Validator({**schema, "components": DESCRIPTION["components"]})
    for line in response.content.splitlines():
        validator.validate(json.loads(line))
