// The identity registry as azure-iothub (Node) uses it.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { Registry } = require('azure-iothub');
const { hub, newDevice, newId } = require('../hub');

test('create, get, update, delete', async () => {
  const registry = hub.registry();
  const deviceId = newId();
  const { responseBody: created } = await registry.create({ deviceId, status: 'enabled' });
  assert.equal(created.authentication.type, 'sas');
  assert.ok(created.authentication.symmetricKey.primaryKey);
  const { responseBody: read } = await registry.get(deviceId);
  assert.equal(read.etag, created.etag);
  const { responseBody: updated } = await registry.update({ ...read, status: 'disabled', statusReason: 'test' });
  assert.equal(updated.status, 'disabled');
  assert.equal(updated.statusReason, 'test');
  assert.equal(updated.generationId, created.generationId);
  assert.deepEqual(updated.authentication, created.authentication);
  await registry.delete(deviceId);
  await assert.rejects(registry.get(deviceId), { name: 'DeviceNotFoundError' });
});

test('creating twice is a conflict', async (t) => {
  const device = await newDevice(t);
  await assert.rejects(hub.registry().create({ deviceId: device.deviceId }), { name: 'DeviceAlreadyExistsError' });
});

test('creating with keys of one\'s own keeps them', async (t) => {
  const registry = hub.registry();
  const deviceId = newId();
  const symmetricKey = {
    primaryKey: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
    secondaryKey: 'ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=',
  };
  const { responseBody: device } = await registry.create({ deviceId, authentication: { symmetricKey } });
  t.after(() => registry.delete(deviceId));
  assert.deepEqual(device.authentication.symmetricKey, symmetricKey);
});

test('an invalid id is refused', async () => {
  await assert.rejects(hub.registry().create({ deviceId: 'not valid' }), { name: 'ArgumentError' });
});

test('list and statistics', async (t) => {
  const device = await newDevice(t);
  const { responseBody: devices } = await hub.registry().list();
  assert.ok(devices.some((listed) => listed.deviceId === device.deviceId));
  const { responseBody: statistics } = await hub.registry().getRegistryStatistics();
  assert.ok(statistics.totalDeviceCount >= 1);
});

test('modules', async (t) => {
  const registry = hub.registry();
  const { deviceId } = await newDevice(t);
  const { responseBody: module } = await registry.addModule({ deviceId, moduleId: 'm1', managedBy: 'me' });
  assert.equal(module.managedBy, 'me');
  const { responseBody: modules } = await registry.getModulesOnDevice(deviceId);
  assert.deepEqual(modules.map((listed) => listed.moduleId), ['m1']);
  await registry.removeModule(deviceId, 'm1');
  await assert.rejects(registry.getModule(deviceId, 'm1'));
});

test('a policy without the right is refused', async () => {
  const registry = Registry.fromConnectionString(hub.connectionStrings.device);
  await assert.rejects(registry.list(), { name: 'UnauthorizedError' });
});
