// azure-iot-device-amqp over TCP and WebSocket, and azure-iothub, which sends messages for devices over AMQP only.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { Message: ServiceMessage } = require('azure-iot-common');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Client: ServiceClient, AmqpWs: ServiceAmqpWs } = require('azure-iothub');
const { hub, newDevice, connect, describedMessage, events, settled } = require('../hub');

const TRANSPORTS = [['TCP', Amqp], ['WebSocket', AmqpWs]];
const SERVICE_TRANSPORTS = [['TCP', undefined], ['WebSocket', ServiceAmqpWs]];

async function service(t, transport) {
  const client = ServiceClient.fromConnectionString(hub.connectionStrings.service, transport);
  t.after(() => client.close().catch(() => {}));
  await client.open();
  return client;
}

const report = (twin, patch) => new Promise((resolve, reject) => {
  twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
});

for (const [name, transport] of TRANSPORTS) {
  test(`telemetry arrives with its properties over ${name}`, async (t) => {
    const device = await newDevice();
    const client = await connect(t, device, transport);
    await client.sendEvent(describedMessage());
    for (let number = 0; number < 20; number += 1) await client.sendEvent(new Message(String(number)));
    const received = await events(device.deviceId, 21);
    assert.deepEqual(received[0].body, { temperature: 21.5 });
    assert.deepEqual(received[0].properties, { alert: 'high' });
    assert.equal(received[0].systemProperties['message-id'], 'message-1');
    assert.equal(received[0].systemProperties['iothub-connection-device-id'], device.deviceId);
    assert.deepEqual(received.slice(1).map((event) => event.body), [...Array(20).keys()]);
  });

  test(`methods and twins over ${name}`, async (t) => {
    const device = await newDevice();
    const client = await connect(t, device, transport);
    client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload));
    const twin = await client.getTwin();
    assert.equal(twin.properties.desired.$version, 1);
    await report(twin, { fan: { speed: 1 } });
    const updated = new Promise((resolve) => {
      twin.on('properties.desired', (delta) => delta.$version === 2 && resolve(delta));
    });
    await hub.registry().updateTwin(device.deviceId, { properties: { desired: { fan: { speed: 4 } } } }, '*');
    assert.deepEqual(await updated, { fan: { speed: 4 }, $version: 2 });
    const { responseBody: read } = await hub.registry().getTwin(device.deviceId);
    assert.equal(read.properties.reported.fan.speed, 1);
    const back = ServiceClient.fromConnectionString(hub.connectionStrings.iothubowner);
    const request = { methodName: 'echo', payload: { a: 1 }, connectTimeoutInSeconds: 10 };
    const { result } = await back.invokeDeviceMethod(device.deviceId, request);
    assert.deepEqual(result, { status: 200, payload: { a: 1 } });
  });

  test(`messages are received and settled over ${name}`, async (t) => {
    const device = await newDevice();
    const client = await connect(t, device, transport);
    const back = await service(t);
    const seen = [];
    const everyOutcome = new Promise((resolve, reject) => {
      client.on('message', (message) => {
        const action = seen.includes('abandon') && message.data.toString() === 'abandon' ? 'complete' : message.data.toString();
        seen.push(message.data.toString());
        client[action](message).then(() => seen.length === 4 && resolve(), reject);
      });
    });
    for (const text of ['complete', 'reject', 'abandon']) {
      const message = new ServiceMessage(text);
      message.messageId = text;
      await back.send(device.deviceId, message);
    }
    await everyOutcome;
    assert.deepEqual([...seen].sort(), ['abandon', 'abandon', 'complete', 'reject']);
    await settled(device);
  });
}

for (const [name, transport] of SERVICE_TRANSPORTS) {
  test(`azure-iothub sends and hears feedback over ${name}`, async (t) => {
    const device = await newDevice();
    const back = await service(t, transport);
    const { result: receiver } = await back.getFeedbackReceiver();
    const heard = new Promise((resolve, reject) => {
      receiver.on('errorReceived', reject);
      receiver.on('message', (batch) => {
        receiver.complete(batch).catch(reject);
        const records = JSON.parse(batch.data.toString());
        const own = records.find((record) => record.originalMessageId === `feedback-${name}`);
        if (own) resolve(own);
      });
    });
    const message = new ServiceMessage('hello');
    message.messageId = `feedback-${name}`;
    message.ack = 'full';
    await back.send(device.deviceId, message);
    const client = await connect(t, device, Amqp);
    // Whoever stops to listen gives back what it has in hand.
    client.on('message', (received) => client.complete(received).catch(() => {}));
    const own = await heard;
    assert.deepEqual([own.statusCode, own.deviceId], ['Success', device.deviceId]);
  });
}

test('a module sends over AMQP', async (t) => {
  const device = await newDevice();
  const { responseBody: module } = await hub.registry().addModule({ deviceId: device.deviceId, moduleId: 'm1' });
  const client = await connect(t, module, Amqp);
  await client.sendOutputEvent('output1', new Message('out'));
  const [event] = await events(device.deviceId, 1);
  assert.equal(event.properties['iothub-outputname'], 'output1');
});
