"""What schemathesis does not know of the API."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx, value):
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


@schemathesis.hook
def map_body(ctx, body):
    # The attempt that an agent has leased: with any other it hears no more than that.
    if isinstance(body, dict) and isinstance(body.get("attempt"), int):
        body["attempt"] = 1
    return body
