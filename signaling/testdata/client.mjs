// Tests of plimsoll.js against a real hub; see client_test.go.
import test from 'node:test';
import assert from 'node:assert/strict';
import net from 'node:net';
import crypto from 'node:crypto';
import { Plimsoll } from '../plimsoll.js';

// A small WebSocket for runtimes that have none: text frames, ping, close.
class WS {
  constructor(href) {
    const url = new URL(href);
    this.sock = net.connect(url.port, url.hostname);
    this.buf = Buffer.alloc(0);
    this.up = false;
    this.code = 1006;
    this.reason = '';
    this.sock.on('connect', () => this.sock.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n` +
      `Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${crypto.randomBytes(16).toString('base64')}\r\n\r\n`));
    this.sock.on('data', (d) => { this.buf = Buffer.concat([this.buf, d]); this.read(); });
    this.sock.on('error', () => {});
    this.sock.on('close', () => this.onclose?.({ code: this.code, reason: this.reason }));
  }
  read() {
    if (!this.up) {
      const end = this.buf.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!this.buf.subarray(0, 12).toString().endsWith('101')) return this.sock.destroy();
      this.up = true;
      this.buf = this.buf.subarray(end + 4);
    }
    for (;;) {
      if (this.buf.length < 2) return;
      const op = this.buf[0] & 15;
      let n = this.buf[1] & 127, at = 2;
      if (n === 126) { if (this.buf.length < 4) return; n = this.buf.readUInt16BE(2); at = 4; }
      if (n === 127) { if (this.buf.length < 10) return; n = Number(this.buf.readBigUInt64BE(2)); at = 10; }
      if (this.buf.length < at + n) return;
      const body = this.buf.subarray(at, at + n);
      this.buf = this.buf.subarray(at + n);
      if (op === 1) this.onmessage?.({ data: body.toString() });
      if (op === 9) this.frame(10, body);
      if (op === 8) {
        if (n >= 2) { this.code = body.readUInt16BE(0); this.reason = body.subarray(2).toString(); }
        this.frame(8, body.subarray(0, 2));
        this.sock.end();
      }
    }
  }
  frame(op, body) {
    const head = body.length < 126 ? Buffer.from([128 | op, 128 | body.length]) : Buffer.from([128 | op, 254, body.length >> 8, body.length & 255]);
    const mask = crypto.randomBytes(4);
    this.sock.write(Buffer.concat([head, mask, Buffer.from(body.map((b, i) => b ^ mask[i % 4]))]));
  }
  send(text) { if (this.up && this.sock.writable) this.frame(1, Buffer.from(text)); }
  close(code = 1000) {
    if (this.up && this.sock.writable) this.frame(8, Buffer.from([code >> 8, code & 255]));
    this.sock.end();
    setTimeout(() => this.sock.destroy(), 50);
  }
}

const cutAfter = (n) => new Promise((done) => {
  const [host, port] = process.env.CONTROL.split(':');
  const c = net.connect(port, host, () => c.end(`${n}\n`));
  c.on('close', done);
});

function client(user, options = {}) {
  const states = [], messages = [], waiting = [];
  const p = new Plimsoll({
    url: process.env.HUB + '?user=' + user, WebSocket: WS, maxDelay: 100,
    onMessage: (m) => messages.push(m),
    onState: (s) => { states.push(s); for (const w of waiting) w(); },
    ...options,
  });
  const state = (want) => new Promise((done) => {
    const look = () => { const s = states.find((x) => x.state === want); if (s) done(s); };
    waiting.push(look);
    look();
  });
  return { p, states, messages, state };
}

const until = async (f) => { while (!f()) await new Promise((r) => setTimeout(r, 5)); };

test('opens, asks, is refused, closes', async () => {
  const { p, states, state } = client('ann');
  await state('open');
  assert.deepEqual(states.map((s) => s.state), ['connecting', 'open']);
  assert.equal(p.hello.userId, 'ann');
  assert.deepEqual(await p.request('echo', { a: 1 }), { a: 1 });
  await assert.rejects(p.request('refuse'), (e) => e.code === 'no' && e.message === 'not today');
  await assert.rejects(p.request('silence', null, 20), (e) => e.code === 'timeout');
  p.close();
  assert.deepEqual(states.at(-1), { state: 'closed', code: 1000, reason: '' });
  assert.equal(p.send('x'), false);
  await assert.rejects(p.request('echo'), (e) => e.code === 'closed');
});

test('batches arrive in order', async () => {
  const { p, messages, state } = client('bea');
  await state('open');
  await p.request('burst');
  await until(() => messages.length === 500);
  messages.forEach((m, i) => assert.equal(m.data ?? 0, i));
  p.close();
});

test('plain messages do not pile up', async () => {
  const { p, messages, state } = client('cleo');
  await state('open');
  for (let i = 0; i < 2000; i++) {
    while (!p.send('quiet', i)) await new Promise((r) => setTimeout(r, 1));
  }
  assert.deepEqual(await p.request('echo', 7), 7);
  assert.equal(messages.length, 0);
  p.close();
});

test('cuts lose and double nothing', { timeout: 60000 }, async () => {
  const { p, states, messages, state } = client('dora');
  await state('open');
  const session = p.hello.sessionId;
  let n = 0;
  for (let cut = 0; cut < 20; cut++) {
    await cutAfter(300 + Math.floor(Math.random() * 1500));
    p.send('count', n++);
    await p.request('burst').catch(() => {});
    for (let i = 0; i < 5; i++) assert.equal(await p.request('count', n++), 1);
  }
  await cutAfter(0);
  for (let i = 0; i < n; i++) assert.equal(await p.request('count', i), 2, `message ${i}`);
  await until(() => messages.filter((m) => m.type === 'n').length === 20 * 500);
  messages.filter((m) => m.type === 'n').forEach((m, i) => assert.equal(m.data, i % 500));
  assert.ok(states.filter((s) => s.state === 'open').length > 2, 'it was cut');
  assert.ok(states.filter((s) => s.state === 'open').slice(1).every((s) => s.resumed));
  assert.equal(p.hello.sessionId, session);
  p.close();
});

test('final codes end it, hints are followed', async () => {
  const a = client('eva');
  await a.state('open');
  a.p.send('kick');
  assert.deepEqual(await a.state('closed'), { state: 'closed', code: 4002, reason: 'elsewhere' });
  const b = client('fay');
  await b.state('open');
  b.p.send('busy');
  const s = await b.state('reconnecting');
  assert.ok(s.inMs >= 200 && s.inMs <= 1200, `${s.inMs} ms`);
  assert.deepEqual({ ...s, inMs: 0 }, { state: 'reconnecting', attempt: 1, inMs: 0, code: 1013, reason: 'retry-after=0.2' });
  await until(() => b.states.at(-1).state === 'open');
  assert.equal(b.states.at(-1).resumed, false);
  b.p.close();
});

test('who can wait lets others go first', async () => {
  const { p, states, state } = client('ida', { spread: () => 1e9, maxDelay: 1e10 });
  await state('open');
  await cutAfter(1);
  p.send('quiet');
  const s = await state('reconnecting');
  assert.ok(s.inMs > 500, `${s.inMs} ms`);
  p.retry();
  await until(() => states.at(-1).state === 'open');
  p.close();
});

test('retry waits no longer', async () => {
  const { p, states, state } = client('gil');
  p.retry(); // while it connects: nothing
  await state('open');
  p.retry(); // while it is open: nothing
  p.send('later');
  const s = await state('reconnecting');
  assert.ok(s.inMs >= 60000, `${s.inMs} ms`);
  p.retry();
  p.retry();
  await until(() => states.at(-1).state === 'open');
  assert.deepEqual(states.map((s) => s.state), ['connecting', 'open', 'reconnecting', 'open']);
  p.close();
  p.retry(); // closed is final
  assert.equal(states.at(-1).state, 'closed');
});
