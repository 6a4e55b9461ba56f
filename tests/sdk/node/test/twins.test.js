// Twins as azure-iot-device and azure-iothub use them.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { hub, newDevice, connect } = require('../hub');

async function newModule(device) {
  const { responseBody } = await hub.registry().addModule({ deviceId: device.deviceId, moduleId: 'm' });
  return responseBody;
}

const report = (twin, patch) => new Promise((resolve, reject) => {
  twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
});

for (const [name, transport] of [['MQTT', Mqtt], ['WebSocket', MqttWs]]) {
  test(`a device reads, reports and follows its twin over ${name}`, async (t) => {
    const device = await newDevice();
    const client = await connect(t, device, transport);
    const twin = await client.getTwin();
    assert.equal(twin.properties.desired.$version, 1);
    const speeds = [];
    twin.on('properties.desired.fan', (fan) => speeds.push(fan.speed));
    await report(twin, { fan: { speed: 1 } });
    const updated = new Promise((resolve) => {
      twin.on('properties.desired', (delta) => delta.$version === 2 && resolve(delta));
    });
    await hub.registry().updateTwin(device.deviceId, { properties: { desired: { fan: { speed: 4 } } } }, '*');
    assert.deepEqual(await updated, { fan: { speed: 4 }, $version: 2 });
    assert.deepEqual(speeds, [4]);
    const { responseBody: read } = await hub.registry().getTwin(device.deviceId);
    assert.equal(read.properties.reported.fan.speed, 1);
    assert.equal(read.properties.reported.$version, 2);
    assert.equal(read.connectionState, 'Connected');
  });
}

test('a module has a twin of its own', async (t) => {
  const device = await newDevice();
  const module = await newModule(device);
  const client = await connect(t, module, Mqtt);
  const twin = await client.getTwin();
  await report(twin, { a: 1 });
  const { responseBody: read } = await hub.registry().getModuleTwin(device.deviceId, 'm');
  assert.equal(read.properties.reported.a, 1);
  const { responseBody: updated } = await hub.registry()
    .updateModuleTwin(device.deviceId, 'm', { tags: { t: 1 } }, read.etag);
  assert.deepEqual(updated.tags, { t: 1 });
});

test('a bad patch is an error', async (t) => {
  const client = await connect(t, await newDevice(), Mqtt);
  const twin = await client.getTwin();
  await assert.rejects(report(twin, { 'a b': 1 }));
  await report(twin, { a: 1 });
});

test('etags guard writes of back ends', async () => {
  const { deviceId } = await newDevice();
  const registry = hub.registry();
  const { responseBody: twin } = await registry.getTwin(deviceId);
  await registry.updateTwin(deviceId, { tags: { floor: 1 } }, twin.etag);
  await assert.rejects(registry.updateTwin(deviceId, { tags: { floor: 2 } }, twin.etag), /PreconditionFailed|412|etag/i);
  const { responseBody: read } = await registry.getTwin(deviceId);
  assert.deepEqual(read.tags, { floor: 1 });
});

test('updates arrive after the token was renewed, without subscribing again', async (t) => {
  const device = await newDevice();
  const client = await connect(t, device, Mqtt, {
    tokenRenewal: { tokenValidTimeInSeconds: 6, tokenRenewalMarginInSeconds: 4 },
  });
  const twin = await client.getTwin();
  await new Promise((resolve) => setTimeout(resolve, 3500));
  // An update that falls into the moment of a renewal is not told later, so it is not always the first one that arrives.
  const updated = once(twin, 'properties.desired.later');
  const tellAgain = async (x) => {
    await hub.registry().updateTwin(device.deviceId, { properties: { desired: { later: { x } } } }, '*');
    const arrived = await Promise.race([updated, new Promise((resolve) => setTimeout(resolve, 1000))]);
    return arrived ?? (x < 8 ? tellAgain(x + 1) : assert.fail('no update arrives any more'));
  };
  assert.ok((await tellAgain(1))[0].x >= 1);
  await report(twin, { still: 'here' });
});
