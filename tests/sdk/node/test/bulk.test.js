// Many identities in one call, as azure-iothub (Node) makes it.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { hub, newDevice, newId } = require('../hub');

test('add, update and remove many devices', async () => {
  const registry = hub.registry();
  const devices = Array.from({ length: 100 }, () => ({ deviceId: newId(), status: 'enabled' }));
  const { responseBody: added } = await registry.addDevices(devices);
  assert.deepEqual([added.isSuccessful, added.errors], [true, []]);
  const { responseBody: first } = await registry.get(devices[0].deviceId);
  assert.ok(first.authentication.symmetricKey.primaryKey);
  const disabled = devices.map(({ deviceId }) => ({ deviceId, status: 'disabled', statusReason: 'bulk' }));
  assert.equal((await registry.updateDevices(disabled, true)).responseBody.isSuccessful, true);
  assert.equal((await registry.get(devices[99].deviceId)).responseBody.statusReason, 'bulk');
  assert.equal((await registry.removeDevices(devices, true)).responseBody.isSuccessful, true);
  await assert.rejects(registry.get(devices[5].deviceId), { name: 'DeviceNotFoundError' });
});

test('what fails is told, and the rest is done', async (t) => {
  const registry = hub.registry();
  const there = await newDevice(t);
  const fresh = { deviceId: newId(), status: 'enabled' };
  t.after(() => registry.delete(fresh.deviceId));
  const failure = await registry.addDevices([{ deviceId: there.deviceId, status: 'enabled' }, fresh]).then(
    ({ responseBody }) => responseBody,
    (error) => JSON.parse(error.responseBody),
  );
  assert.equal(failure.isSuccessful, false);
  assert.deepEqual(failure.errors.map(({ deviceId, errorCode }) => [deviceId, errorCode]), [[there.deviceId, 409001]]);
  assert.equal((await registry.get(fresh.deviceId)).responseBody.deviceId, fresh.deviceId);
});
