// Configurations are not there yet: azure-iothub (Node) is told so with the error of an unknown operation.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { hub } = require('../hub');

const configuration = { id: 'c1', content: { deviceContent: {} }, targetCondition: '', priority: 1 };

for (const [name, call] of [
  ['list', (registry) => registry.getConfigurations()],
  ['get', (registry) => registry.getConfiguration('c1')],
  ['create', (registry) => registry.addConfiguration(configuration)],
  ['update', (registry) => registry.updateConfiguration(configuration, true)],
  ['delete', (registry) => registry.removeConfiguration('c1')],
  ['apply', (registry) => registry.applyConfigurationContentOnDevice('d1', { modulesContent: {} })],
]) {
  test(`configurations are absent: ${name}`, async () => {
    await assert.rejects(call(hub.registry()), (error) => {
      // A device that is not found would be of a class of its own.
      assert.deepEqual([error.name, error.message], ['Error', 'Not found']);
      assert.match(JSON.parse(error.responseBody).Message, /^ErrorCode:GenericNotFound;./);
      assert.equal(error.response.statusCode, 404);
      assert.equal(error.response.headers['iothub-errorcode'], 'GenericNotFound');
      return true;
    });
  });
}
