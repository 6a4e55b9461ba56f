// Telemetry by azure-iot-device over MQTT and HTTPS, read back and compared property by property.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
const { hub, newDevice, connect, events } = require('../hub');

function fullMessage() {
  const message = new Message(JSON.stringify({ temperature: 21.5 }));
  message.messageId = 'message-1';
  message.correlationId = 'correlation-1';
  message.userId = 'user-1';
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('alert', 'high');
  message.properties.add('level', '7');
  return message;
}

for (const [name, transport] of [['MQTT', Mqtt], ['HTTPS', Http]]) {
  test(`every property of a message arrives over ${name}`, async (t) => {
    const device = await newDevice(t);
    const client = await connect(t, device, transport);
    await client.sendEvent(fullMessage());
    const [event] = await events(device.deviceId, 1);
    assert.deepEqual(event.body, { temperature: 21.5 });
    const system = event.systemProperties;
    assert.equal(system['message-id'], 'message-1');
    assert.equal(system['correlation-id'], 'correlation-1');
    assert.equal(system['user-id'], 'user-1');
    assert.equal(system['content-type'], 'application/json');
    assert.equal(system['content-encoding'], 'utf-8');
    assert.equal(system['iothub-connection-device-id'], device.deviceId);
    assert.equal(system['iothub-message-source'], 'Telemetry');
    assert.deepEqual(event.properties, { alert: 'high', level: '7' });
  });
}

// The SDK offers batches over HTTPS only.
test('a batch arrives in order over HTTPS', async (t) => {
  const device = await newDevice(t);
  const client = await connect(t, device, Http);
  const messages = ['one', 'two', 'three'].map((text) => {
    const message = new Message(text);
    message.properties.add('text', text);
    return message;
  });
  await client.sendEventBatch(messages);
  const received = await events(device.deviceId, 3);
  assert.deepEqual(received.map((event) => event.body), ['one', 'two', 'three']);
  assert.deepEqual(received.map((event) => event.properties.text), ['one', 'two', 'three']);
});

test('special characters survive MQTT', async (t) => {
  const device = await newDevice(t);
  const client = await connect(t, device, Mqtt);
  const message = new Message('x');
  message.properties.add('a b&c', "= / + % # ? ü ☃ ' ( ) *");
  await client.sendEvent(message);
  const [event] = await events(device.deviceId, 1);
  assert.deepEqual(event.properties, { 'a b&c': "= / + % # ? ü ☃ ' ( ) *" });
});

test('a module sends to an output', async (t) => {
  const device = await newDevice(t);
  const { responseBody: module } = await hub.registry().addModule({ deviceId: device.deviceId, moduleId: 'm1' });
  const client = await connect(t, module, Mqtt);
  await client.sendOutputEvent('output1', new Message('out'));
  const [event] = await events(device.deviceId, 1);
  assert.equal(event.body, 'out');
  assert.equal(event.systemProperties['iothub-connection-module-id'], 'm1');
  assert.equal(event.properties['iothub-outputname'], 'output1');
});

test('the model id of the session is stamped', async (t) => {
  const device = await newDevice(t);
  const client = await connect(t, device, Mqtt, { modelId: 'dtmi:com:example:Thermostat;1' });
  await client.sendEvent(new Message('x'));
  const [event] = await events(device.deviceId, 1);
  assert.equal(event.systemProperties['dt-dataschema'], 'dtmi:com:example:Thermostat;1');
});
