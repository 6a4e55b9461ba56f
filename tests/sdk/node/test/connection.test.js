// How azure-iot-device experiences refusals, take-over and token renewal.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { setTimeout: sleep } = require('node:timers/promises');
const { NoRetry } = require('azure-iot-common');
const { Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
const { hub, newDevice, connect, connectionString, events } = require('../hub');
const { Client } = require('azure-iot-device');

const OTHER_KEY = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';

async function openWithoutRetry(identity) {
  const client = Client.fromConnectionString(connectionString(identity), Mqtt);
  await client.setOptions({ ca: hub.authority });
  client.setRetryPolicy(new NoRetry());
  try {
    await client.open();
  } finally {
    await client.close().catch(() => {});
  }
}

test('a wrong key is refused over MQTT', async (t) => {
  const device = await newDevice(t);
  device.authentication.symmetricKey.primaryKey = OTHER_KEY;
  await assert.rejects(openWithoutRetry(device), /Not authorized|Unauthorized/i);
});

test('a wrong key is refused over HTTPS', async (t) => {
  const device = await newDevice(t);
  device.authentication.symmetricKey.primaryKey = OTHER_KEY;
  const client = await connect(t, device, Http);
  client.setRetryPolicy(new NoRetry());
  await assert.rejects(client.sendEvent(new Message('x')), { name: 'UnauthorizedError' });
});

// The one that wins always comes over plain MQTT: who is newer does not depend on the door.
for (const [name, transport] of [['MQTT', Mqtt], ['WebSocket', MqttWs]]) {
  test(`the newer connection wins over ${name}`, async (t) => {
    const device = await newDevice(t);
    const first = await connect(t, device, transport);
    first.setRetryPolicy(new NoRetry());
    const lost = new Promise((resolve) => first.on('disconnect', resolve));
    const second = await connect(t, device, Mqtt);
    await lost;
    await second.sendEvent(new Message('second'));
    assert.deepEqual((await events(device.deviceId, 1)).map((event) => event.body), ['second']);
  });

  test(`tokens are renewed before they expire over ${name}`, async (t) => {
    const device = await newDevice(t);
    const client = await connect(t, device, transport, {
      tokenRenewal: { tokenValidTimeInSeconds: 6, tokenRenewalMarginInSeconds: 3 },
    });
    for (const text of ['1', '2', '3', '4', '5']) {
      await client.sendEvent(new Message(text));
      await sleep(2000);
    }
    assert.deepEqual((await events(device.deviceId, 5)).map((event) => event.body), [1, 2, 3, 4, 5]);
  });
}

test('deleting a device closes its connection', async (t) => {
  const device = await newDevice(t);
  const client = await connect(t, device, Mqtt);
  client.setRetryPolicy(new NoRetry());
  const lost = new Promise((resolve) => client.on('disconnect', resolve));
  await hub.registry().delete(device.deviceId);
  await lost;
});
