"""What devices and back ends made of Qpid Proton do. Run by a Python that has it: the first argument says what to do, the
rest is JSON on the standard input; what was seen is printed as JSON."""

import json
import sys
import uuid

from proton import ConnectionException, Message, SSLDomain
from proton.reactor import LinkOption, Selector
from proton._utils import Fetcher  # what a blocking receiver needs, and proton.utils leaves out
from proton.utils import BlockingConnection, BlockingReceiver, BlockingSender, LinkDetached

TIMEOUT_SECONDS = 20
# What the SDK for Java allows the hub.
FRAME_BYTES = 4096


class LinkProperties(LinkOption):
    def __init__(self, properties):
        self._properties = properties

    def apply(self, link):
        link.properties = self._properties


class Client:
    """A connection, and a session of its own for each link unless one is given."""

    def __init__(self, task, **options):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(task["authority"])
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        options = {"allowed_mechs": "ANONYMOUS", "max_frame_size": FRAME_BYTES, **options}
        url = f"amqps://{task['host']}:5671"
        self._connection = BlockingConnection(url, timeout=TIMEOUT_SECONDS, ssl_domain=domain, **options)

    def session(self):
        session = self._connection.conn.session()
        session.open()
        return session

    def sender(self, address, session=None, options=None):
        container = self._connection.container
        link = container.create_sender(session or self.session(), address, options=options)
        return BlockingSender(self._connection, link)

    def receiver(self, address, session=None, options=None, credit=10):
        fetcher = Fetcher(self._connection, credit)
        container = self._connection.container
        link = container.create_receiver(session or self.session(), address, handler=fetcher, options=options)
        return BlockingReceiver(self._connection, link, fetcher, credit)

    def put_token(self, token):
        session = self.session()
        requests, answers = self.sender("$cbs", session), self.receiver("$cbs", session)
        properties = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "of the hub"}
        request = Message(id=uuid.uuid4(), reply_to="cbs", properties=properties, body=token)
        requests.send(request)
        answer = answers.receive()
        assert answer.correlation_id == request.id and answer.properties["status-code"] == 200, answer

    def close(self):
        self._connection.close()


def device(task):
    """Sends telemetry, reads its twin, and settles messages until none is left that it was promised."""
    client, address = Client(task), f"/devices/{task['deviceId']}"
    client.put_token(task["token"])
    telemetry = client.sender(f"{address}/messages/events")
    for body in task["telemetry"]:
        telemetry.send(Message(body=body.encode(), properties={"key": "value"}))
    twin = twin_of(client, address)
    receiver, settled = client.receiver(f"{address}/messages/devicebound"), []
    for _ in range(task["deliveries"]):
        message = receiver.receive()
        body, count = bytes(message.body).decode(), message.annotations["iothub-deliverycount"]
        outcome = "accept" if count else body.split()[0]
        settled.append([body, int(count), outcome])
        if outcome == "release":
            receiver.release(delivered=False)
        else:
            getattr(receiver, outcome)()
    # An answer, so that the outcomes before it have arrived.
    twin_of(client, address)
    client.close()
    return {"twin": twin, "settled": settled}


def twin_of(client, address):
    correlation = {"com.microsoft:channel-correlation-id": f"twin:{uuid.uuid4()}"}
    options = [LinkProperties({"com.microsoft:api-version": "2020-09-30", **correlation})]
    answers = client.receiver(f"{address}/twin", options=options)
    requests = client.sender(f"{address}/twin", options=options)
    request = Message(id=uuid.uuid4(), correlation_id=uuid.uuid4(), annotations={"operation": "GET"})
    requests.send(request)
    answer = answers.receive()
    assert answer.correlation_id == request.correlation_id and answer.annotations["status"] == 200, answer
    requests.close()
    answers.close()
    return json.loads(bytes(answer.body))


def refused(task):
    """Asks for what it may not have; what the connection may have goes on working."""
    client, address = Client(task), f"/devices/{task['deviceId']}"
    client.put_token(task["token"])
    telemetry, conditions = client.sender(f"{address}/messages/events"), []
    for role, asked in task["refused"]:
        try:
            getattr(client, role)(asked)
            conditions.append(None)
        except LinkDetached as error:
            conditions.append(error.condition)
        telemetry.send(Message(body=f"after {asked}".encode()))
    client.close()
    return conditions


def read(task):
    """Reads events by the name and key of a policy."""
    client = Client(task, allowed_mechs="PLAIN", user=task["policy"], password=task["key"])
    selector = Selector(f"amqp.annotation.x-opt-offset >= '{task['offset']}'")
    receiver, events = client.receiver(task["address"], options=[selector]), []
    for _ in range(task["count"]):
        event = receiver.receive()
        events.append([event.annotations["x-opt-offset"], bytes(event.body).decode()])
    client.close()
    return events


def login(task):
    """Whether the name and key of a policy open a connection."""
    try:
        Client(task, allowed_mechs="PLAIN", user=task["policy"], password=task["key"]).close()
    except ConnectionException as error:
        return str(error)
    return "welcome"


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](json.load(sys.stdin))))
