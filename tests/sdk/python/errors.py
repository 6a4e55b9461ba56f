"""What the errors of azure-iot-hub say."""


def status_of(error):
    return getattr(error.value, "status_code", None) or error.value.response.status_code
