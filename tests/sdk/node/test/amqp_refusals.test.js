// What azure-iot-device-amqp and azure-iothub make of the hub's refusals (their retry policy is the default one: what is
// refused for good is not tried again, so every promise here is settled at once).
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Message } = require('azure-iot-common');
const { Client, ModuleClient, SharedAccessSignatureAuthenticationProvider } = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Client: ServiceClient, Amqp: ServiceAmqp, AmqpWs: ServiceAmqpWs } = require('azure-iothub');
const {
  hub, newDevice, newModule, primaryKey, policyKey, token, connectionString, connect, events,
} = require('../hub');

const TRANSPORTS = [['TCP', Amqp], ['WebSocket', AmqpWs]];
const SERVICE_TRANSPORTS = [['TCP', ServiceAmqp], ['WebSocket', ServiceAmqpWs]];
const OTHER_KEY = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
const HOUR_MILLISECONDS = 3600 * 1000;

async function client(t, made) {
  await made.setOptions({ ca: hub.authority });
  t.after(() => made.close().catch(() => {}));
  return made;
}

const update = (device, change) => hub.registry().update({ ...device, ...change });
const absent = (identity) => ({ ...identity, deviceId: `${identity.deviceId}-absent` });

// What a device shows, and the words that it hears. All of them are UnauthorizedError: this SDK knows no other error of
// an authentication. C#, for one, has DeviceNotFoundException for what is not registered.
const REFUSED_AT_OPEN = [
  ['a wrong key', (transport, device) => Client.fromConnectionString(connectionString(device, OTHER_KEY), transport),
    /signature/],
  ['an expired token', (transport, device) => {
    const expired = token(device, primaryKey(device), { seconds: -600 });
    return Client.fromSharedAccessSignature(expired, transport);
  }, /expired/],
  ['a token that no key of its policy signed', (transport, device) => {
    const text = token(device, OTHER_KEY, { policy: 'service' });
    return Client.fromSharedAccessSignature(text, transport);
  }, /signature/],
  ['a device that is not there', (transport, device) => {
    return Client.fromConnectionString(connectionString(absent(device)), transport);
  }, /^Device \S+-absent at IotHub \S+ not registered\.$/],
  ['a module that is not there', (transport, device) => {
    return ModuleClient.fromConnectionString(connectionString({ ...device, moduleId: 'absent' }), transport);
  }, /^Device \S+\/absent at IotHub \S+ not registered\.$/],
  ['a disabled device', async (transport, device) => {
    await update(device, { status: 'disabled' });
    return Client.fromConnectionString(connectionString(device), transport);
  }, /disabled/],
];

// The same with the first link, where the connection as such is in order.
const REFUSED_AT_SEND = [
  ["another device's token", async (transport, device) => {
    const other = await newDevice();
    const credentials = { host: hub.hostName, deviceId: device.deviceId };
    credentials.sharedAccessSignature = token(other, primaryKey(other));
    const provider = new SharedAccessSignatureAuthenticationProvider(credentials);
    return Client.fromAuthenticationProvider(provider, transport);
  }, 'UnauthorizedError'],
  ['the key of a policy that may not connect', (transport, device) => {
    return Client.fromConnectionString(connectionString(device, policyKey('service'), 'service'), transport);
  }, 'UnauthorizedError'],
  ['the key of a policy for a device that is not there', (transport, device) => {
    const identity = connectionString(absent(device), policyKey('device'), 'device');
    return Client.fromConnectionString(identity, transport);
  }, 'DeviceNotFoundError'],
];

for (const [name, transport] of TRANSPORTS) {
  test(`a device is refused when it opens over ${name}`, async (t) => {
    for (const [what, make, words] of REFUSED_AT_OPEN) {
      const device = await client(t, await make(transport, await newDevice()));
      await assert.rejects(device.open(), (error) => {
        assert.equal(error.name, 'UnauthorizedError', what);
        assert.match(error.message, words, what);
        return true;
      });
    }
  });

  test(`a device is refused when it sends over ${name}`, async (t) => {
    for (const [what, make, error] of REFUSED_AT_SEND) {
      const device = await client(t, await make(transport, await newDevice()));
      await device.open();
      await assert.rejects(device.sendEvent(new Message('x')), { name: error }, what);
    }
  });
}

// What happens to a device while it is connected, and what its client hears.
const LOST = [
  ['it is disabled', (device) => update(device, { status: 'disabled' }), 'UnauthorizedError'],
  ['it is deleted', (device) => hub.registry().delete(device.deviceId), 'DeviceNotFoundError'],
  ['its key is replaced', (device) => {
    const symmetricKey = { ...device.authentication.symmetricKey, primaryKey: OTHER_KEY };
    return update(device, { authentication: { type: 'sas', symmetricKey } });
  }, 'UnauthorizedError'],
];

for (const [name, transport] of TRANSPORTS) {
  test(`a connected device hears that it may not go on over ${name}`, async (t) => {
    for (const [what, act, error] of LOST) {
      const identity = await newDevice();
      const device = await connect(t, identity, transport);
      device.on('message', () => {});
      await device.sendEvent(new Message('x'));
      const lost = once(device, 'disconnect');
      await act(identity);
      const [{ transportObj: reason }] = await lost;
      assert.equal(reason.name, error, what);
      await assert.rejects(device.sendEvent(new Message('x')), { name: 'UnauthorizedError' }, what);
    }
  });

  test(`the newer connection of a device wins over ${name}`, async (t) => {
    const identity = await newDevice();
    const first = await connect(t, identity, transport);
    first.on('message', () => {});
    await first.sendEvent(new Message('first'));
    const lost = once(first, 'disconnect');
    const second = await connect(t, identity, transport);
    await second.sendEvent(new Message('second'));
    const [{ transportObj: reason }] = await lost;
    // No error of the SDK's own, so that it does not come back by itself: two clients would take turns for ever.
    assert.deepEqual([reason.name, reason.amqpError.condition], ['Error', 'amqp:link:stolen']);
    await second.sendEvent(new Message('still there'));
    const bodies = (await events(identity.deviceId, 3)).map((event) => event.body);
    assert.deepEqual(bodies, ['first', 'second', 'still there']);
  });

  test(`a message that is too large is refused over ${name}`, async (t) => {
    const identity = await newDevice();
    const device = await connect(t, identity, transport);
    for (const bytes of [262145, 1000 * 1000]) {
      await assert.rejects(device.sendEvent(new Message(Buffer.alloc(bytes))), { name: 'MessageTooLargeError' });
    }
    await device.sendEvent(new Message('small enough'));
    // More than the link says that it takes: the link ends, which the SDK takes for the connection's end.
    const lost = once(device, 'disconnect');
    await assert.rejects(device.sendEvent(new Message(Buffer.alloc(1100 * 1000))), { name: 'MessageTooLargeError' });
    const [{ transportObj: reason }] = await lost;
    assert.equal(reason.name, 'MessageTooLargeError');
    await device.sendEvent(new Message('again'));
    const bodies = (await events(identity.deviceId, 2)).map((event) => event.body);
    assert.deepEqual(bodies, ['small enough', 'again']);
  });

  test(`a patch of the twin that cannot be is refused over ${name}`, async (t) => {
    const device = await connect(t, await newDevice(), transport);
    const twin = await device.getTwin();
    const report = (patch) => new Promise((resolve, reject) => {
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
    });
    const large = Object.fromEntries([...Array(9).keys()].map((number) => [`p${number}`, 'x'.repeat(4000)]));
    const deep = [...Array(12).keys()].reduce((inner) => ({ deeper: inner }), 1);
    for (const [what, patch, words] of [
      ['too large', large, /32768/],
      ['too deep', deep, /deeper/],
      ['a name that cannot be', { 'a.b': 1 }, /a\.b/],
    ]) {
      await assert.rejects(report(patch), (error) => {
        // The SDK makes a FormatError of 400, and then an Error with its words.
        assert.deepEqual([error.name, error.amqpError.name], ['Error', 'FormatError'], what);
        assert.match(error.message, words, what);
        return true;
      });
    }
    await report({ small: 1 });
  });
}

const message = (body, properties = {}) => Object.assign(new Message(body), properties);

const REFUSED_MESSAGES = [
  ['too large', message(Buffer.alloc(65537)), 'MessageTooLargeError'],
  ['a malformed acknowledgement', message('x', { ack: 'sometimes' }), 'InvalidOperationError'],
  ['an expiry too far away', message('x', { expiryTimeUtc: Date.now() + 49 * HOUR_MILLISECONDS }), 'ArgumentError'],
];

async function backEnd(t, transport, credential = hub.connectionStrings.service) {
  const kind = credential.startsWith('SharedAccessSignature ') ? 'fromSharedAccessSignature' : 'fromConnectionString';
  const made = ServiceClient[kind](credential, transport);
  t.after(() => made.close().catch(() => {}));
  return made;
}

for (const [name, transport] of SERVICE_TRANSPORTS) {
  test(`a back end is refused when it opens over ${name}`, async (t) => {
    const service = (key) => hub.connectionStrings.service.replace(/SharedAccessKey=.*/, `SharedAccessKey=${key}`);
    for (const [what, credential, words] of [
      ['a wrong key', service(OTHER_KEY), /signature/],
      ['an expired token', token(undefined, policyKey('service'), { policy: 'service', seconds: -600 }), /expired/],
      ['a policy that is not there', token(undefined, OTHER_KEY, { policy: 'nobody' }), /nobody/],
    ]) {
      const made = await backEnd(t, transport, credential);
      await assert.rejects(made.open(), (error) => {
        // The SDK's own translation knows no error of authentication.
        assert.deepEqual([error.name, error.amqpError.name], ['Error', 'UnauthorizedError'], what);
        assert.match(error.amqpError.message, words, what);
        return true;
      });
    }
  });

  test(`a message for a device is refused over ${name}`, async (t) => {
    const { deviceId } = await newDevice();
    const made = await backEnd(t, transport);
    await made.open();
    for (const [what, refused, error] of REFUSED_MESSAGES) {
      await assert.rejects(made.send(deviceId, refused), { name: error }, what);
      await made.send(deviceId, message('x'));
    }
    // More than the link says that it takes: the link ends, which the SDK takes for the connection's end.
    const lost = once(made, 'disconnect');
    await assert.rejects(made.send(deviceId, message(Buffer.alloc(1100 * 1000))), { name: 'MessageTooLargeError' });
    await lost;
    await assert.rejects(made.send(`${deviceId}-absent`, message('x')), { name: 'DeviceNotFoundError' });
    for (let sent = REFUSED_MESSAGES.length; sent < 50; sent += 1) await made.send(deviceId, message('x'));
    await assert.rejects(made.send(deviceId, message('x')), { name: 'DeviceMaximumQueueDepthExceededError' });
    const { responseBody } = await hub.registry().get(deviceId);
    assert.equal(responseBody.cloudToDeviceMessageCount, 50);
  });
}
