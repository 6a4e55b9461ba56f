// Messages for devices as azure-iot-device receives them, over MQTT and HTTPS.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
const { hub, newDevice, connect, sendToDevice } = require('../hub');

const HEADERS = {
  'iothub-messageid': 'm1',
  'iothub-correlationid': 'c1',
  'iothub-ack': 'full',
  'iothub-app-special': '/ + & # % $',
};

async function queueLength(deviceId) {
  const { responseBody } = await hub.registry().get(deviceId);
  return responseBody.cloudToDeviceMessageCount;
}

for (const [name, transport] of [['MQTT', Mqtt], ['WebSocket', MqttWs]]) {
  test(`a message arrives with its properties over ${name}`, async (t) => {
    const device = await newDevice();
    const client = await connect(t, device, transport);
    const arrived = once(client, 'message');
    await sendToDevice(device.deviceId, '{"x":1}', HEADERS);
    const [message] = await arrived;
    assert.equal(message.data.toString(), '{"x":1}');
    assert.equal(message.messageId, 'm1');
    assert.equal(message.correlationId, 'c1');
    assert.equal(message.properties.getValue('special'), '/ + & # % $');
    await client.complete(message);
  });
}

test('messages are received and settled over HTTPS', async (t) => {
  const device = await newDevice();
  const client = await connect(t, device, Http);
  for (const text of ['complete', 'reject', 'abandon']) {
    await sendToDevice(device.deviceId, text, HEADERS);
  }
  const settled = new Promise((resolve, reject) => {
    let count = 0;
    client.on('message', (message) => {
      const action = message.data.toString();
      assert.equal(message.messageId, 'm1');
      client[action](message).then(() => { count += 1; if (count === 3) resolve(); }, reject);
    });
  });
  await settled;
  assert.equal(await queueLength(device.deviceId), 1, 'the abandoned one waits again');
});

test('messages wait for the device and keep their order', async (t) => {
  const device = await newDevice();
  const texts = Array.from({ length: 20 }, (_, number) => `${number}`);
  for (const text of texts) await sendToDevice(device.deviceId, text);
  assert.equal(await queueLength(device.deviceId), 20);
  const client = await connect(t, device, Mqtt);
  const received = [];
  await new Promise((resolve) => {
    client.on('message', (message) => {
      received.push(message.data.toString());
      if (received.length === 20) resolve();
    });
  });
  assert.deepEqual(received, texts);
});
