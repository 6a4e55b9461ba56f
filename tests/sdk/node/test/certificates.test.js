// X.509 with azure-iot-device over MQTT and AMQP: by thumbprint, and by a registered authority. Its modules know tokens only.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { NoRetry } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { hub, newId, newDevice, register, events, eventually, settings } = require('../hub');
const { pki, thumbprint } = require('../certificates');

const TRANSPORTS = [['MQTT', Mqtt], ['AMQP', Amqp], ['AMQP over WebSocket', AmqpWs]];
// MQTT is refused at once; over AMQP, who it is shows with the first link.
const REFUSED = /Not authorized|UnauthorizedError/i;

// Connects and sends.
async function send(test, { deviceId }, { cert, key }, transport, text = 'x') {
  const client = Client.fromConnectionString(`HostName=${hub.hostName};DeviceId=${deviceId};x509=true`, transport);
  await client.setOptions({ ca: hub.authority, cert, key });
  client.setRetryPolicy(new NoRetry());
  test.after(() => client.close().catch(() => {}));
  await client.open();
  await client.sendEvent(new Message(text));
  return client;
}

for (const [name, transport] of TRANSPORTS) {
  test(`a device is known by its thumbprint over ${name}`, async (t) => {
    const device = { deviceId: newId() };
    const [first, second, stranger] = [1, 2, 3].map(() => pki(t).selfSigned(device.deviceId));
    const x509Thumbprint = { primaryThumbprint: thumbprint(first), secondaryThumbprint: thumbprint(second) };
    await register({ ...device, authentication: { type: 'selfSigned', x509Thumbprint } });
    await send(t, device, first, transport, 'by the first');
    await send(t, device, second, transport, 'by the second');
    const received = await events(device.deviceId, 2);
    assert.deepEqual(received.map((event) => event.body), ['by the first', 'by the second']);
    await assert.rejects(send(t, device, stranger, transport), REFUSED);
    const other = await newDevice();
    await assert.rejects(send(t, other, first, transport), REFUSED, 'who has a key needs it');
  });

  test(`a device is vouched for by an authority until it is removed over ${name}`, async (t) => {
    const device = { deviceId: newId() };
    const { selfSigned, signed } = pki(t);
    const root = selfSigned(newId(), 'authority');
    await register({ ...device, authentication: { type: 'certificateAuthority' } });
    await settings('PUT', `certificates/${root.name}`, { properties: { certificate: root.cert, isVerified: true } });
    const certificate = signed(device.deviceId, root);
    let client;
    // A change of the settings reaches the gateway soon.
    await eventually('the authority is known', async () => {
      client = await send(t, device, certificate, transport, 'by authority').catch(() => undefined);
      return client;
    });
    assert.deepEqual((await events(device.deviceId, 1)).map((event) => event.body), ['by authority']);
    await assert.rejects(send(t, device, signed('somebody-else', root), transport), REFUSED);
    const lost = new Promise((resolve) => { client.on('disconnect', resolve); });
    await settings('DELETE', `certificates/${root.name}`);
    await lost;
    await assert.rejects(send(t, device, certificate, transport), REFUSED);
  });
}
