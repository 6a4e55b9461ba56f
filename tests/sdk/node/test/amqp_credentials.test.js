// Every credential of devices, modules and back ends over AMQP and AMQP over WebSocket; certificates: certificates.test.js.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Message } = require('azure-iot-common');
const { Client, ModuleClient } = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Client: ServiceClient, Amqp: ServiceAmqp, AmqpWs: ServiceAmqpWs } = require('azure-iothub');
const {
  hub, newDevice, newModule, primaryKey, policyKey, token, connectionString, events,
} = require('../hub');

const TRANSPORTS = [['TCP', Amqp], ['WebSocket', AmqpWs]];
const SERVICE_TRANSPORTS = [['TCP', ServiceAmqp], ['WebSocket', ServiceAmqpWs]];

// What an identity may show: a connection string or a ready-made token.
const CREDENTIALS = [
  ['its primary key', (identity) => connectionString(identity)],
  ['its secondary key', (identity) => connectionString(identity, identity.authentication.symmetricKey.secondaryKey)],
  ['a token', (identity) => token(identity, primaryKey(identity))],
  ['a token of its secondary key', (identity) => token(identity, identity.authentication.symmetricKey.secondaryKey)],
  ['the key of a policy', (identity) => connectionString(identity, policyKey('device'), 'device')],
  ['the token of a policy', (identity) => token(identity, policyKey('device'), { policy: 'device' })],
];

async function openWith(t, identity, credential, transport) {
  const kind = identity.moduleId ? ModuleClient : Client;
  const isToken = credential.startsWith('SharedAccessSignature ');
  const client = isToken
    ? kind.fromSharedAccessSignature(credential, transport)
    : kind.fromConnectionString(credential, transport);
  await client.setOptions({ ca: hub.authority });
  t.after(() => client.close().catch(() => {}));
  await client.open();
  return client;
}

for (const [name, transport] of TRANSPORTS) {
  for (const [what, credential] of CREDENTIALS) {
    test(`a device and a module send by ${what} over ${name}`, async (t) => {
      const [device, module] = [await newDevice(), await newModule()];
      const client = await openWith(t, device, credential(device), transport);
      await client.sendEvent(new Message(what));
      assert.deepEqual((await events(device.deviceId, 1)).map((event) => event.body), [what]);
      const moduleClient = await openWith(t, module, credential(module), transport);
      await moduleClient.sendOutputEvent('out', new Message(what));
      const [event] = await events(module.deviceId, 1);
      assert.deepEqual([event.body, event.systemProperties['iothub-connection-module-id']], [what, 'm1']);
    });
  }
}

// Who has the right ServiceConnect.
const POLICIES = [
  ['iothubowner', true], ['service', true], ['device', false], ['registryRead', false], ['registryReadWrite', false],
];
const SERVICE_CREDENTIALS = [
  ['key', (policy, transport) => ServiceClient.fromConnectionString(hub.connectionStrings[policy], transport)],
  ['token', (policy, transport) => {
    const text = token(undefined, policyKey(policy), { policy });
    return ServiceClient.fromSharedAccessSignature(text, transport);
  }],
];

for (const [name, transport] of SERVICE_TRANSPORTS) {
  for (const [what, clientOf] of SERVICE_CREDENTIALS) {
    test(`who has ServiceConnect by ${what} sends and listens over ${name}`, async (t) => {
      const device = await newDevice();
      for (const [policy, mayConnect] of POLICIES) {
        const open = async () => {
          const client = clientOf(policy, transport);
          t.after(() => client.close().catch(() => {}));
          await client.open();
          return client;
        };
        const sent = (await open()).send(device.deviceId, new Message('x'));
        await (mayConnect ? sent : assert.rejects(sent, { name: 'UnauthorizedError' }, policy));
        for (const receiver of ['getFeedbackReceiver', 'getFileNotificationReceiver']) {
          const client = await open();
          const lost = once(client, 'disconnect');
          // The SDK takes the link for attached before it hears that it is not.
          await client[receiver]();
          if (!mayConnect) {
            const [{ reason }] = await lost;
            assert.equal(reason.condition, 'amqp:unauthorized-access', `${policy} ${receiver}`);
          }
        }
      }
    });
  }
}
