// What IoT Explorer does, with the packages that it is made of. It knows the hub's connection string, asks the hub's own
// host where the events are, and reads there; so do the conversion samples of the Event Hubs documentation.
'use strict';

const crypto = require('node:crypto');
const test = require('node:test');
const assert = require('node:assert/strict');
const { EventHubConsumerClient } = require('@azure/event-hubs');
const { Connection, ReceiverEvents, isAmqpError, parseConnectionString } = require('rhea-promise');
const { Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { hub, newDevice, connect } = require('../hub');

const PATIENCE_MILLISECONDS = 20_000;

function sasToken(resource, key, policy) {
  const encoded = encodeURIComponent(resource);
  const expiry = Math.ceil(Date.now() / 1000 + 300);
  const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(`${encoded}\n${expiry}`);
  return `SharedAccessSignature sr=${encoded}&sig=${encodeURIComponent(signature.digest('base64'))}&se=${expiry}&skn=${policy}`;
}

// The error that the hub's host answers a receiver of the events with.
async function refusal(t, { HostName, SharedAccessKeyName, SharedAccessKey }) {
  const connection = new Connection({
    transport: 'tls',
    host: HostName,
    hostname: HostName,
    port: 5671,
    username: `${SharedAccessKeyName}@sas.root.${HostName.split('.')[0]}`,
    password: sasToken(`${HostName}/messages/events`, SharedAccessKey, SharedAccessKeyName),
    reconnect: false,
  });
  t.after(() => connection.close().catch(() => {}));
  await connection.open();
  const receiver = await connection.createReceiver({
    source: { address: `amqps://${HostName}/messages/events/$management` },
  });
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no error in time')), PATIENCE_MILLISECONDS);
    receiver.on(ReceiverEvents.receiverError, (context) => {
      clearTimeout(late);
      resolve(context.receiver.error);
    });
  });
}

test('the connection string of the hub leads to the events', async (t) => {
  const parts = parseConnectionString(hub.connectionStrings.iothubowner);
  const error = await refusal(t, parts);
  assert.ok(isAmqpError(error));
  assert.equal(error.condition, 'amqp:link:redirect');
  const [, name] = /:\d+\/(.*)\/\$management/i.exec(error.info.address);
  assert.equal(name, hub.eventHubCompatible.name);
  const { hostname } = error.info;
  const { SharedAccessKeyName, SharedAccessKey } = parts;
  const found = `Endpoint=sb://${hostname}/;EntityPath=${name};SharedAccessKeyName=${SharedAccessKeyName};`
    + `SharedAccessKey=${SharedAccessKey}`;

  const device = await newDevice();
  const start = new Date();
  const client = new EventHubConsumerClient('$Default', found);
  t.after(() => client.close());
  const seen = new Promise((resolve, reject) => {
    const isOurs = (event) => event.systemProperties['iothub-connection-device-id'] === device.deviceId;
    client.subscribe({
      processEvents: async (events) => events.filter(isOurs).forEach(resolve),
      processError: async (error) => reject(error),
    }, { startPosition: { enqueuedOn: start } });
  });
  await (await connect(t, device, Mqtt)).sendEvent(new Message('{"a": 1}'));
  assert.deepEqual((await seen).body, { a: 1 });
});

test('a policy that may not read is told so instead', async (t) => {
  const error = await refusal(t, parseConnectionString(hub.connectionStrings.registryRead));
  assert.equal(error.condition, 'amqp:unauthorized-access');
});
