// Direct methods: azure-iothub calls, azure-iot-device answers.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { Client: ServiceClient } = require('azure-iothub');
const { Mqtt } = require('azure-iot-device-mqtt');
const { hub, newDevice, connect } = require('../hub');

const service = () => ServiceClient.fromConnectionString(hub.connectionStrings.iothubowner);

// A handler that was just set is not known to the hub yet.
const method = (methodName, options = {}) => ({ methodName, connectTimeoutInSeconds: 10, ...options });

function answering(client) {
  const on = (client.onDeviceMethod || client.onMethod).bind(client);
  on('echo', (request, response) => response.send(200, request.payload));
  on('fail', (request, response) => response.send(500, { why: 'told to' }));
}

test('every kind of payload passes unchanged', async (t) => {
  const device = await newDevice();
  answering(await connect(t, device, Mqtt));
  for (const payload of [{ a: [1, null] }, 'text', 7, true, [], {}, null]) {
    const { result } = await service().invokeDeviceMethod(device.deviceId, method('echo', { payload }));
    assert.deepEqual(result, { status: 200, payload });
  }
  const { result } = await service().invokeDeviceMethod(device.deviceId, method('fail'));
  assert.deepEqual(result, { status: 500, payload: { why: 'told to' } });
});

test('modules have methods', async (t) => {
  const device = await newDevice();
  const { responseBody: module } = await hub.registry().addModule({ deviceId: device.deviceId, moduleId: 'm' });
  answering(await connect(t, module, Mqtt));
  const { result } = await service().invokeDeviceMethod(device.deviceId, 'm', method('echo', { payload: 1 }));
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
    service().invokeDeviceMethod(device.deviceId, method('silent', { responseTimeoutInSeconds: 5 })),
    (error) => error.response && error.response.statusCode === 504,
  );
});
