// azure-iot-device-mqtt over WebSocket, on the port of HTTPS.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { MqttWs } = require('azure-iot-device-mqtt');
const { hub, newDevice, connect, events } = require('../hub');

test('messages arrive in order over WebSocket', async (t) => {
  const device = await newDevice(t);
  const client = await connect(t, device, MqttWs);
  for (let number = 0; number < 20; number += 1) await client.sendEvent(new Message(String(number)));
  await client.sendEvent(new Message('x'.repeat(200000)));
  const received = await events(device.deviceId, 21);
  assert.deepEqual(received.map((event) => event.body), [...Array(20).keys(), 'x'.repeat(200000)]);
});

test('a module sends to an output over WebSocket', async (t) => {
  const device = await newDevice(t);
  const { responseBody: module } = await hub.registry().addModule({ deviceId: device.deviceId, moduleId: 'm1' });
  const client = await connect(t, module, MqttWs);
  await client.sendOutputEvent('output1', new Message('out'));
  const [event] = await events(device.deviceId, 1);
  assert.equal(event.properties['iothub-outputname'], 'output1');
});

test('a client opens again over WebSocket', async (t) => {
  const device = await newDevice(t);
  const first = await connect(t, device, MqttWs);
  await first.sendEvent(new Message('before'));
  await first.close();
  const second = await connect(t, device, MqttWs);
  await second.sendEvent(new Message('after'));
  assert.deepEqual((await events(device.deviceId, 2)).map((event) => event.body), ['before', 'after']);
});
