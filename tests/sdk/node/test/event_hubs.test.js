// Events read back by @azure/event-hubs, as back ends do.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const { EventHubConsumerClient, earliestEventPosition, latestEventPosition } = require('@azure/event-hubs');
const { Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const WebSocket = require('ws');
const { hub, newDevice, connect, describedMessage, events } = require('../hub');

const PATIENCE_MILLISECONDS = 20_000;

function consumer(test, options = {}, connectionString = hub.eventHubCompatible.connectionString) {
  const client = new EventHubConsumerClient('$Default', connectionString, {
    retryOptions: { maxRetries: 0 },
    ...options,
  });
  test.after(() => client.close());
  return client;
}

// Resolves with the first event that fits; rejects with the first error.
function firstEvent(client, partitionId, options, fits = () => true) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no event in time')), PATIENCE_MILLISECONDS);
    const subscription = client.subscribe(partitionId, {
      processEvents: async (received) => {
        const event = received.find(fits);
        if (!event) return;
        clearTimeout(late);
        await subscription.close();
        resolve(event);
      },
      processError: async (error) => {
        clearTimeout(late);
        reject(error);
      },
    }, options);
  });
}

async function sent(t) {
  const device = await newDevice(t);
  const client = await connect(t, device, Mqtt);
  await client.sendEvent(describedMessage());
  const [event] = await events(device.deviceId, 1);
  const isOurs = (event) => event.systemProperties['iothub-connection-device-id'] === device.deviceId;
  // From that event on.
  const start = { startPosition: { offset: String(event.offset), isInclusive: true } };
  return { device, client, partition: String(event.partition), isOurs, start };
}

const transports = [
  ['TCP', {}],
  ['WebSocket', { webSocketOptions: { webSocket: WebSocket } }],
];

for (const [name, options] of transports) {
  test(`every property of a message is read over ${name}`, async (t) => {
    const { device, partition, isOurs, start } = await sent(t);
    const client = consumer(t, options);
    const event = await firstEvent(client, partition, start, isOurs);
    assert.deepEqual(event.body, { temperature: 21.5 });
    assert.deepEqual(event.properties, { alert: 'high' });
    assert.equal(event.contentType, 'application/json');
    assert.equal(event.offset, String(event.sequenceNumber));
    assert.ok(Math.abs(event.enqueuedTimeUtc - Date.now()) < 60_000);
    const system = event.systemProperties;
    assert.equal(system.messageId, 'message-1');
    assert.equal(system.to, `/devices/${device.deviceId}/messages/events`);
    assert.equal(system['iothub-connection-auth-generation-id'], device.generationId);
    assert.equal(JSON.parse(system['iothub-connection-auth-method']).scope, 'device');
    assert.equal(system['iothub-message-source'], 'Telemetry');
  });
}

const otherName = process.env.IRONHUB_SDK_OTHER_HOST_NAME;

// Where the client is told to connect to: the endpoint of its connection string, more of it, other options, or why not.
const ways = [
  ['a port in the endpoint', `sb://${hub.hostName}:5671/`, '', {}],
  ['an address that is not the name', `sb://${otherName}/`, '', { customEndpointAddress: `sb://${hub.hostName}:5671` },
    !otherName && 'the hub was not given a second name'],
  ['emulator mode, without TLS', `sb://${hub.hostName}:${hub.emulatorPort}/`, ';UseDevelopmentEmulator=true', {},
    !hub.emulatorPort && 'the hub was not asked to listen without TLS'],
];

for (const [name, endpoint, more, options, skip = false] of ways) {
  test(`the events are found by ${name}`, { skip }, async (t) => {
    const { partition, isOurs, start } = await sent(t);
    const known = hub.eventHubCompatible.connectionString;
    const client = consumer(t, options, `${known.replace(/sb:[^;]*/, endpoint)}${more}`);
    assert.equal((await client.getEventHubProperties()).name, hub.eventHubCompatible.name);
    const event = await firstEvent(client, partition, start, isOurs);
    assert.deepEqual(event.body, { temperature: 21.5 });
  });
}

test('the event hub and its partitions describe themselves', async (t) => {
  const { partition } = await sent(t);
  const client = consumer(t);
  const properties = await client.getEventHubProperties();
  assert.equal(properties.name, hub.eventHubCompatible.name);
  assert.ok(properties.partitionIds.includes(partition));
  const described = await client.getPartitionProperties(partition);
  assert.equal(described.isEmpty, false);
  assert.equal(described.beginningSequenceNumber, 0);
  assert.ok(described.lastEnqueuedSequenceNumber >= 0);
});

test('the latest position reads only what comes', async (t) => {
  const { client: device, partition, isOurs } = await sent(t);
  const client = consumer(t);
  const event = firstEvent(client, partition, { startPosition: latestEventPosition }, isOurs);
  // Sent again until the reader is there: it says nothing when it is.
  let number = 0;
  const sending = setInterval(() => device.sendEvent(new Message(`after ${(number += 1)}`)).catch(() => {}), 300);
  try {
    assert.match(String((await event).body), /^after \d+$/);
  } finally {
    clearInterval(sending);
  }
});

test('a reader of a higher epoch takes over', async (t) => {
  const { partition } = await sent(t);
  const start = { startPosition: earliestEventPosition };
  const first = consumer(t);
  const lost = new Promise((resolve) => {
    first.subscribe(partition, { processEvents: async () => {}, processError: async (error) => resolve(error) }, {
      ...start,
      ownerLevel: 1,
    });
  });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await firstEvent(consumer(t), partition, { ...start, ownerLevel: 2 });
  assert.equal((await lost).code, 'ReceiverDisconnectedError');
});
