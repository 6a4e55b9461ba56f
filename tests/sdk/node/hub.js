// The hub under test, described by the hub.json that IRONHUB_HUB_JSON names, and what every test needs of it.
'use strict';

const fs = require('node:fs');
const https = require('node:https');
const crypto = require('node:crypto');
const { after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { encodeUriComponentStrict } = require('azure-iot-common');
const { ConnectionString, Registry, SharedAccessSignature } = require('azure-iothub');
const { Client, Message, ModuleClient } = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');

const document = JSON.parse(fs.readFileSync(process.env.IRONHUB_HUB_JSON, 'utf8'));
const authority = fs.readFileSync(document.certificateAuthorityFile, 'utf8');

const hub = {
  hostName: document.hostName,
  authority,
  connectionStrings: document.connectionStrings,
  eventHubCompatible: document.eventHubCompatible,
  emulatorPort: document.ports.emulator,
  registry: () => Registry.fromConnectionString(document.connectionStrings.iothubowner),
};

const newId = () => `node-${crypto.randomUUID()}`;

const made = [];

// Deleted only when every client is closed: a client whose device goes first may wait for ever.
after(() => Promise.all(made.map((deviceId) => hub.registry().delete(deviceId).catch(() => {}))));

async function register(identity) {
  const { responseBody: device } = await hub.registry().create(identity);
  made.push(device.deviceId);
  return device;
}

const newDevice = () => register({ deviceId: newId() });

async function newModule() {
  const { deviceId } = await newDevice();
  return (await hub.registry().addModule({ deviceId, moduleId: 'm1' })).responseBody;
}

const primaryKey = (identity) => identity.authentication.symmetricKey.primaryKey;

// Without a key of its own it has the identity's primary key; that of a policy comes with the policy's name.
function connectionString(identity, key = primaryKey(identity), policy = undefined) {
  const module = identity.moduleId ? `;ModuleId=${identity.moduleId}` : '';
  const name = policy ? `;SharedAccessKeyName=${policy}` : '';
  return `HostName=${hub.hostName};DeviceId=${identity.deviceId}${module}${name};SharedAccessKey=${key}`;
}

const policyKey = (policy) => ConnectionString.parse(hub.connectionStrings[policy]).SharedAccessKey;

// A token as owners of keys make them, for the identity or, without one, for the whole hub.
function token(identity, key, { policy, seconds = 600 } = {}) {
  const device = identity ? `/devices/${identity.deviceId}` : '';
  const module = identity?.moduleId ? `/modules/${identity.moduleId}` : '';
  const resource = encodeUriComponentStrict(hub.hostName + device + module);
  return SharedAccessSignature.create(resource, policy, key, Math.floor(Date.now() / 1000) + seconds).toString();
}

async function connect(test, identity, transport, options = {}) {
  const kind = identity.moduleId ? ModuleClient : Client;
  const client = kind.fromConnectionString(connectionString(identity), transport);
  // The HTTPS transport never answers setOptions; it trusts NODE_EXTRA_CA_CERTS like the rest of the process.
  if (transport !== Http) await client.setOptions({ ca: authority, ...options });
  test.after(() => client.close().catch(() => {}));
  await client.open();
  return client;
}

const serviceToken = () => token(undefined, policyKey('iothubowner'), { policy: 'iothubowner' });

// One request to the settings API, whatever the version of the object.
function settings(method, path, body) {
  const headers = { Authorization: serviceToken(), ...(method === 'PUT' ? {} : { 'If-Match': '*' }) };
  const options = { method, host: hub.hostName, path: `/ironhub/v1/${path}`, ca: authority, headers };
  return new Promise((resolve, reject) => {
    const request = https.request(options, (response) => {
      response.resume().on('end', () => (response.statusCode < 300 ? resolve() : reject(new Error(response.statusCode))));
    });
    request.on('error', reject).end(body && JSON.stringify(body));
  });
}

// Puts a message into the device's queue over HTTPS; the service SDK does so over AMQP, see amqp.test.js.
function sendToDevice(deviceId, body, headers = {}) {
  const path = `/devices/${encodeURIComponent(deviceId)}/messages/deviceBound?api-version=2021-04-12`;
  const options = {
    method: 'POST', host: hub.hostName, path, ca: authority, headers: { Authorization: serviceToken(), ...headers },
  };
  return new Promise((resolve, reject) => {
    const request = https.request(options, (response) => {
      response.resume().on('end', () => (response.statusCode === 204 ? resolve() : reject(new Error(response.statusCode))));
    });
    request.on('error', reject).end(body);
  });
}

function readEvents(deviceId) {
  const path = `/ironhub/v1/events?since=earliest&device=${encodeURIComponent(deviceId)}`;
  return new Promise((resolve, reject) => {
    const options = { host: hub.hostName, path, ca: authority, headers: { Authorization: serviceToken() } };
    https.get(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
      response.on('end', () => {
        if (response.statusCode !== 200) return reject(new Error(`${response.statusCode} ${text}`));
        return resolve(text.split('\n').filter(Boolean).map((line) => JSON.parse(line)));
      });
    }).on('error', reject);
  });
}

// Waits until the device has sent at least `count` events; answers all of them, oldest first.
async function events(deviceId, count, timeoutMilliseconds = 15000) {
  const deadline = Date.now() + timeoutMilliseconds;
  for (;;) {
    const found = await readEvents(deviceId);
    if (found.length >= count || Date.now() > deadline) return found;
    await sleep(100);
  }
}

// A message with a body of JSON, properties of the system and one of its own.
function describedMessage() {
  const message = new Message(JSON.stringify({ temperature: 21.5 }));
  message.messageId = 'message-1';
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('alert', 'high');
  return message;
}

// Waits until it is so.
async function eventually(what, isSo, timeoutMilliseconds = 20000) {
  const deadline = Date.now() + timeoutMilliseconds;
  while (!await isSo()) {
    if (Date.now() > deadline) throw new Error(`in vain waited for: ${what}`);
    await sleep(20);
  }
}

// Waits until no message for the device is left: SDKs settle without waiting for an answer.
const settled = ({ deviceId }) => eventually('every message is settled', async () => {
  const { responseBody } = await hub.registry().get(deviceId);
  return responseBody.cloudToDeviceMessageCount === 0;
});

module.exports = {
  hub, newId, register, settings, newDevice, newModule, primaryKey, policyKey, token, connectionString, connect,
  describedMessage, events, sendToDevice, eventually, settled,
};
