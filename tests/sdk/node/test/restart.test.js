// Devices and back ends go on by themselves when the hub comes back. azure-iot-device-mqtt asks for persistent sessions
// only; azure-iot-device-amqp asks for everything again.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { RestartableHub, skip } = require('../restartable_hub');

// Not the hub of the other tests: this one ends in the middle. Each file of tests is a process of its own.
const own = skip ? undefined : new RestartableHub();
if (own) {
  own.waitForHubJson();
  process.env.IRONHUB_HUB_JSON = own.hubJson;
}

const { Client: ServiceClient, Amqp: ServiceAmqp, AmqpWs: ServiceAmqpWs } = require('azure-iothub');
const { Message } = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { hub, newDevice, connect, events, sendToDevice, eventually, settled } = require('../hub');

const TRANSPORTS = [Mqtt, MqttWs, Amqp, AmqpWs];

test.after(async () => {
  if (!own) return;
  await own.stop();
  own.remove();
});

const ENDS = ['stop', 'kill'];

const report = (twin, patch) => new Promise((resolve, reject) => {
  twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
});
const desired = (deviceId, properties) => hub.registry().updateTwin(deviceId, { properties: { desired: properties } }, '*');

async function echo(deviceId, payload) {
  const method = { methodName: 'echo', payload, connectTimeoutInSeconds: 20 };
  const { result } = await ServiceClient.fromConnectionString(hub.connectionStrings.iothubowner)
    .invokeDeviceMethod(deviceId, method);
  return result.payload;
}

// What the owner of a device writes: handlers that are set once.
async function application(client) {
  const seen = { client, messages: [], version: 0 };
  client.on('message', (message) => {
    seen.messages.push(message.data.toString());
    client.complete(message).catch(() => {});
  });
  client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload));
  seen.twin = await client.getTwin();
  seen.twin.on('properties.desired', (delta) => { seen.version = delta.$version; });
  return seen;
}

for (const end of ENDS) {
  test(`connected devices go on: ${end}`, { skip }, async (t) => {
    const [devices, applications] = [[], []];
    for (const transport of TRANSPORTS) {
      devices.push(await newDevice());
      applications.push(await application(await connect(t, devices.at(-1), transport)));
    }
    for (const { client, twin } of applications) {
      await report(twin, { before: 1 });
      await client.sendEvent(new Message('before'));
    }
    await sendToDevice(devices[0].deviceId, 'before');
    await eventually('the first message', () => applications[0].messages.length === 1);
    await settled(devices[0]);

    await own[end]();
    await own.start();

    for (const { deviceId } of devices) {
      await sendToDevice(deviceId, 'while it was away');
      await desired(deviceId, { a: 1 });
    }
    for (const [index, seen] of applications.entries()) {
      const { deviceId } = devices[index];
      await eventually('the message', () => seen.messages.at(-1) === 'while it was away');
      assert.deepEqual(await echo(deviceId, { x: [1] }), { x: [1] });
      // Updates of the time without a connection are not told; whoever wants to know reads the twin.
      await seen.client.getTwin();
      assert.equal(seen.twin.properties.desired.a, 1);
      await desired(deviceId, { a: 2 });
      await eventually('the desired properties', () => seen.version === 3);
      assert.equal(seen.twin.properties.desired.a, 2);
      await report(seen.twin, { after: 2 });
      const { responseBody: read } = await hub.registry().getTwin(deviceId);
      const { before, after, $version } = read.properties.reported;
      assert.deepEqual([before, after, $version], [1, 2, 3]);
      await seen.client.sendEvent(new Message('after'));
      assert.deepEqual((await events(deviceId, 2)).map((event) => event.body), ['before', 'after']);
      await sendToDevice(deviceId, 'afterwards');
      await eventually('the last message', () => seen.messages.at(-1) === 'afterwards');
    }
    assert.deepEqual(applications[0].messages, ['before', 'while it was away', 'afterwards'], 'each message once');
  });

  test(`a device that was away all the time finds what waits: ${end}`, { skip }, async (t) => {
    const device = await newDevice();
    const first = await application(await connect(t, device, Mqtt));
    await sendToDevice(device.deviceId, 'first');
    await eventually('the first message', () => first.messages.length === 1);
    await settled(device);
    await first.client.close();
    await sendToDevice(device.deviceId, 'before the end');
    await desired(device.deviceId, { a: 1 });

    await own[end]();
    await own.start();

    await sendToDevice(device.deviceId, 'after it');
    const again = await application(await connect(t, device, Mqtt));
    await eventually('both messages', () => again.messages.length === 2);
    assert.deepEqual(again.messages, ['before the end', 'after it']);
    assert.equal(again.twin.properties.desired.a, 1);
    await desired(device.deviceId, { a: 2 });
    await eventually('the desired properties', () => again.version === 3);
    assert.equal(await echo(device.deviceId, 'x'), 'x');
  });

  for (const [name, transport] of [['TCP', ServiceAmqp], ['WebSocket', ServiceAmqpWs]]) {
    test(`a back end goes on over AMQP and ${name}: ${end}`, { skip }, async (t) => {
      const { deviceId } = await newDevice();
      const service = ServiceClient.fromConnectionString(hub.connectionStrings.service, transport);
      t.after(() => service.close().catch(() => {}));
      await service.open();
      await service.send(deviceId, new Message('before'));
      const lost = once(service, 'disconnect');
      await own[end]();
      await lost;
      await own.start();
      await service.send(deviceId, new Message('after'));
      assert.equal((await hub.registry().get(deviceId)).responseBody.cloudToDeviceMessageCount, 2);
    });
  }
}
