// Certificates made with the openssl command, as device owners make them.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const crypto = require('node:crypto');
const { execFileSync } = require('node:child_process');

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

const thumbprint = ({ cert }) => new crypto.X509Certificate(cert).fingerprint256.replaceAll(':', '');

module.exports = { pki, thumbprint };
