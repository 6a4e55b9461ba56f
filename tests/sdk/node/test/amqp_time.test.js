// What time does to AMQP connections of azure-iot-device: tokens end or are renewed, locks and messages end.
'use strict';

const test = require('node:test');
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { RestartableHub, skip } = require('../restartable_hub');

// A hub of its own that allows nothing beyond the time there is.
const own = skip ? undefined : new RestartableHub(`
[gateway.limits]
token_grace_seconds = 0
[gateway.cloud_to_device]
lock_seconds = 1
feedback_flush_seconds = 0
`);
if (own) {
  own.waitForHubJson();
  process.env.IRONHUB_HUB_JSON = own.hubJson;
}

const { Message } = require('azure-iot-common');
const { Client } = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { Client: ServiceClient } = require('azure-iothub');
const { hub, newDevice, primaryKey, token, connect, events, eventually, sendToDevice, settled } = require('../hub');

const TRANSPORTS = [['TCP', Amqp], ['WebSocket', AmqpWs]];

test.after(async () => {
  if (!own) return;
  await own.stop();
  own.remove();
});

// Most of each is waiting, so all wait together.
describe('in time', { concurrency: true, skip }, () => {
  for (const [name, transport] of TRANSPORTS) {
    test(`tokens are renewed on a living connection over ${name}`, async (t) => {
      const device = await newDevice();
      const renewal = { tokenRenewal: { tokenValidTimeInSeconds: 3, tokenRenewalMarginInSeconds: 2 } };
      const client = await connect(t, device, transport, renewal);
      let disconnections = 0;
      client.on('disconnect', () => { disconnections += 1; });
      client.on('connect', () => { disconnections += 1; });
      const received = [];
      client.on('message', (message) => { received.push(message.data.toString()); client.complete(message); });
      for (let number = 0; number < 5; number += 1) {
        await client.sendEvent(new Message(String(number)));
        await sleep(1000);
      }
      await sendToDevice(device.deviceId, 'still there');
      await eventually('the message', () => received.length === 1);
      assert.deepEqual((await events(device.deviceId, 5)).map((event) => event.body), [0, 1, 2, 3, 4]);
      assert.equal(disconnections, 0);
    });

    test(`a token that is not renewed ends the connection over ${name}`, async (t) => {
      const device = await newDevice();
      const client = Client.fromSharedAccessSignature(token(device, primaryKey(device), { seconds: 3 }), transport);
      await client.setOptions({ ca: hub.authority });
      t.after(() => client.close().catch(() => {}));
      await client.open();
      await client.sendEvent(new Message('in time'));
      // In time with another one, it goes on.
      client.updateSharedAccessSignature(token(device, primaryKey(device), { seconds: 7 }));
      await sleep(3500);
      await client.sendEvent(new Message('with the second token'));
      const began = Date.now();
      const [{ transportObj: reason }] = await once(client, 'disconnect');
      assert.equal(reason.name, 'UnauthorizedError');
      assert.ok(Date.now() - began < 10000, 'not only when it gives up waiting');
      client.updateSharedAccessSignature(token(device, primaryKey(device)));
      await client.sendEvent(new Message('with the third'));
      const bodies = (await events(device.deviceId, 3)).map((event) => event.body);
      assert.deepEqual(bodies, ['in time', 'with the second token', 'with the third']);
    });

    test(`a message comes again when its lock is over over ${name}`, async (t) => {
      const device = await newDevice();
      const client = await connect(t, device, transport);
      const received = [];
      client.on('message', (message) => received.push(message));
      await sendToDevice(device.deviceId, 'x');
      await eventually('the second delivery', () => received.length === 2);
      // The SDK settles without waiting for an answer, so it cannot know that the first delivery counts no more.
      await client.complete(received[0]);
      await eventually('the third delivery', () => received.length === 3);
      await client.complete(received[2]);
      await assert.rejects(client.complete(received[2]), { name: 'DeviceMessageLockLostError' });
      await settled(device);
      await sleep(1500);
      assert.equal(received.length, 3);
    });
  }

  test('a message that has expired already is taken, and its sender hears so', async (t) => {
    const { deviceId } = await newDevice();
    const service = ServiceClient.fromConnectionString(hub.connectionStrings.service);
    t.after(() => service.close().catch(() => {}));
    await service.open();
    const { result: receiver } = await service.getFeedbackReceiver();
    const heard = once(receiver, 'message');
    const message = Object.assign(new Message('late'), {
      messageId: 'late', ack: 'negative', expiryTimeUtc: Date.now() - 1000,
    });
    await service.send(deviceId, message);
    const [batch] = await heard;
    await receiver.complete(batch);
    const [record] = JSON.parse(batch.data.toString());
    assert.deepEqual([record.originalMessageId, record.statusCode], ['late', 'Expired']);
  });
});
