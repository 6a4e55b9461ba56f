// A hub of the tests' own, for those that end it: started again on the same data folder and address.
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');

const START_TIMEOUT_MILLISECONDS = 20000;
const WANTED = ['IRONHUB_BINARY', 'IRONHUB_SDK_RESTART_ADDRESS', 'IRONHUB_SDK_RESTART_DATA_DIR'];
const [binary, address, dataDir] = WANTED.map((name) => process.env[name]);

class RestartableHub {
  // With a configuration of its own, as TOML.
  constructor(configuration = '') {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ironhub-'));
    this.hubJson = path.join(this.folder, 'data', 'hub.json');
    fs.cpSync(dataDir, path.dirname(this.hubJson), { recursive: true });
    fs.writeFileSync(path.join(this.folder, 'config.toml'), configuration);
    this.spawn();
  }

  spawn() {
    const log = fs.openSync(path.join(this.folder, 'log'), 'a');
    const names = ['--data-dir', path.dirname(this.hubJson), '--listen-address', address, '--host-name', address];
    const configuration = ['--config', path.join(this.folder, 'config.toml')];
    this.process = spawn(binary, ['all', ...names, ...configuration], { stdio: ['ignore', log, log] });
    this.ended = once(this.process, 'exit');
    fs.closeSync(log);
  }

  // Waits without giving way to anybody: ../hub reads hub.json when it is loaded.
  waitForHubJson() {
    const deadline = Date.now() + START_TIMEOUT_MILLISECONDS;
    while (!fs.existsSync(this.hubJson)) {
      if (Date.now() > deadline) throw new Error(`the hub does not start: ${this.log()}`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }

  // Starts it again, and answers when it listens.
  async start() {
    this.spawn();
    const deadline = Date.now() + START_TIMEOUT_MILLISECONDS;
    while (!await listens()) {
      if (Date.now() > deadline) throw new Error(`the hub does not start: ${this.log()}`);
      await sleep(20);
    }
  }

  // In an orderly way.
  async stop() {
    this.process.kill('SIGTERM');
    const [code] = await this.ended;
    if (code !== 0) throw new Error(`the hub ended with ${code}: ${this.log()}`);
  }

  // As a crash would.
  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }

  log() {
    return fs.readFileSync(path.join(this.folder, 'log'), 'utf8').slice(-2000);
  }

  remove() {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

function listens() {
  return new Promise((resolve) => {
    const socket = net.connect(8883, address);
    socket.on('connect', () => { socket.destroy(); resolve(true); });
    socket.on('error', () => resolve(false));
  });
}

// What the environment lacks to start a hub, or false.
const missing = WANTED.filter((name) => !process.env[name]).join(', ');
const skip = missing ? `no hub can be started and ended without ${missing}` : false;

module.exports = { RestartableHub, skip };
