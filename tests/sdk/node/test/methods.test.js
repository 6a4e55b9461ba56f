// Direct methods: azure-iothub calls, azure-iot-device answers.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { Client: ServiceClient } = require('azure-iothub');
const { Mqtt } = require('azure-iot-device-mqtt');
const { hub, newDevice, connect } = require('../hub');

const service = () => ServiceClient.fromConnectionString(hub.connectionStrings.iothubowner);

// The SDK subscribes when a handler is set, and says nothing when it is done.
const connectTimeoutInSeconds = 10;

function answering(client) {
  const on = (client.onDeviceMethod || client.onMethod).bind(client);
  on('echo', (request, response) => response.send(200, request.payload));
  on('fail', (request, response) => response.send(500, { why: 'told to' }));
}

test('every kind of payload passes unchanged', async (t) => {
  const device = await newDevice();
  answering(await connect(t, device, Mqtt));
  for (const payload of [{ a: [1, null] }, 'text', 7, true, [], {}, null]) {
    const request = { methodName: 'echo', payload, connectTimeoutInSeconds };
    const { result } = await service().invokeDeviceMethod(device.deviceId, request);
    assert.deepEqual(result, { status: 200, payload });
  }
  const { result } = await service().invokeDeviceMethod(device.deviceId, { methodName: 'fail' });
  assert.deepEqual(result, { status: 500, payload: { why: 'told to' } });
});

test('modules have methods', async (t) => {
  const device = await newDevice();
  const { responseBody: module } = await hub.registry().addModule({ deviceId: device.deviceId, moduleId: 'm' });
  answering(await connect(t, module, Mqtt));
  const request = { methodName: 'echo', payload: 1, connectTimeoutInSeconds };
  const { result } = await service().invokeDeviceMethod(device.deviceId, 'm', request);
  assert.deepEqual(result, { status: 200, payload: 1 });
});

test('an offline device is DeviceNotOnline', async () => {
  const device = await newDevice();
  await assert.rejects(
    service().invokeDeviceMethod(device.deviceId, { methodName: 'echo' }),
    (error) => /404103|DeviceNotOnline|DeviceNotFound/.test(`${error.name} ${error.responseBody}`),
  );
});

test('a silent device is a timeout of the hub, not of the connection', async (t) => {
  const device = await newDevice();
  const client = await connect(t, device, Mqtt);
  client.onDeviceMethod('silent', () => {});
  await assert.rejects(
    service().invokeDeviceMethod(device.deviceId, {
      methodName: 'silent', responseTimeoutInSeconds: 5, connectTimeoutInSeconds,
    }),
    (error) => error.response && error.response.statusCode === 504,
  );
});
