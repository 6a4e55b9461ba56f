"""Messages that several suites send."""

import json

from azure.iot.device import Message


def message_with_every_property():
    """One with a body of JSON and every system property that a device can set."""
    message = Message(json.dumps({"temperature": 21.5}))
    message.message_id = "message-1"
    message.correlation_id = "correlation 1"
    message.user_id = "user/1"
    message.content_type = "application/json"
    message.content_encoding = "utf-8"
    message.expiry_time_utc = "2030-01-01T00:00:00.0000000Z"
    return message
