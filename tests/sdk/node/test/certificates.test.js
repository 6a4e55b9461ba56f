// X.509 with azure-iot-device over MQTT and AMQP: by thumbprint, and by a registered authority.
'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { setTimeout: sleep } = require('node:timers/promises');
const { NoRetry } = require('azure-iot-common');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Amqp } = require('azure-iot-device-amqp');
const { hub, newId, register, events, settings } = require('../hub');

const CONFIGURATION = `
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
[device]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
`;

function pki(test) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ironhub-'));
  test.after(() => fs.rmSync(folder, { recursive: true }));
  const file = (name) => path.join(folder, name);
  fs.writeFileSync(file('openssl.cnf'), CONFIGURATION);
  const openssl = (...words) => execFileSync('openssl', words, { stdio: 'pipe', timeout: 60000 });
  const request = (name) => ['-config', file('openssl.cnf'), '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
    '-nodes', '-keyout', file(`${name}.key`), '-subj', `/CN=${name}`];
  const read = (name) => ({
    name,
    cert: fs.readFileSync(file(`${name}.pem`), 'utf8'),
    key: fs.readFileSync(file(`${name}.key`), 'utf8'),
  });
  return {
    selfSigned(name, kind = 'device') {
      openssl('req', '-x509', '-days', '2', '-extensions', kind, ...request(name), '-out', file(`${name}.pem`));
      return read(name);
    },
    signed(name, issuer) {
      openssl('req', '-new', ...request(name), '-out', file(`${name}.csr`));
      openssl('x509', '-req', '-in', file(`${name}.csr`), '-CA', file(`${issuer.name}.pem`),
        '-CAkey', file(`${issuer.name}.key`), '-CAcreateserial', '-days', '2', '-extfile', file('openssl.cnf'),
        '-extensions', 'device', '-out', file(`${name}.pem`));
      return read(name);
    },
  };
}

async function connect(test, deviceId, { cert, key }, transport = Mqtt) {
  const client = Client.fromConnectionString(`HostName=${hub.hostName};DeviceId=${deviceId};x509=true`, transport);
  await client.setOptions({ ca: hub.authority, cert, key });
  client.setRetryPolicy(new NoRetry());
  test.after(() => client.close().catch(() => {}));
  await client.open();
  return client;
}

// A change of the settings reaches the gateway soon.
async function connectSoon(test, deviceId, certificate) {
  const deadline = Date.now() + 15000;
  for (;;) {
    try {
      return await connect(test, deviceId, certificate);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

test('a device is known by its thumbprint', async (t) => {
  const deviceId = newId();
  const certificate = pki(t).selfSigned(deviceId);
  const primaryThumbprint = new crypto.X509Certificate(certificate.cert).fingerprint256.replaceAll(':', '');
  await register({ deviceId, authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint } } });
  const client = await connect(t, deviceId, certificate);
  await client.sendEvent(new Message('by thumbprint'));
  assert.deepEqual((await events(deviceId, 1)).map((event) => event.body), ['by thumbprint']);
  await assert.rejects(connect(t, deviceId, pki(t).selfSigned(deviceId)), /Not authorized|Unauthorized/i);
});

test('a device is known by its thumbprint over AMQP', async (t) => {
  const deviceId = newId();
  const certificate = pki(t).selfSigned(deviceId);
  const primaryThumbprint = new crypto.X509Certificate(certificate.cert).fingerprint256.replaceAll(':', '');
  await register({ deviceId, authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint } } });
  const client = await connect(t, deviceId, certificate, Amqp);
  await client.sendEvent(new Message('by thumbprint'));
  assert.deepEqual((await events(deviceId, 1)).map((event) => event.body), ['by thumbprint']);
  // Who it is shows with the first link.
  const stranger = await connect(t, deviceId, pki(t).selfSigned(deviceId), Amqp);
  await assert.rejects(stranger.sendEvent(new Message('x')), { name: 'UnauthorizedError' });
});

test('a device is vouched for by an authority until it is removed', async (t) => {
  const deviceId = newId();
  const { selfSigned, signed } = pki(t);
  const root = selfSigned(newId(), 'authority');
  await register({ deviceId, authentication: { type: 'certificateAuthority' } });
  await settings('PUT', `certificates/${root.name}`, { properties: { certificate: root.cert, isVerified: true } });
  const client = await connectSoon(t, deviceId, signed(deviceId, root));
  await client.sendEvent(new Message('by authority'));
  assert.deepEqual((await events(deviceId, 1)).map((event) => event.body), ['by authority']);
  await assert.rejects(connect(t, deviceId, signed('somebody-else', root)), /Not authorized|Unauthorized/i);
  const lost = new Promise((resolve) => { client.on('disconnect', resolve); });
  await settings('DELETE', `certificates/${root.name}`);
  await lost;
});
