// Client of a Plimsoll hub: reconnects with full jitter, resumes.
//
//   const p = new Plimsoll({ onMessage: (m) => …, onState: (s) => … });
//   p.send('room:chat', { text: 'hello' });
//   const data = await p.request('queue:join');
//
// States: {state:'connecting'}, {state:'open', resumed}, {state:'reconnecting',
// attempt, inMs, code, reason}, {state:'closed', code, reason}. Closed is final.

const FINAL = new Set([1000, 4001, 4002, 4003]);

export class PlimsollError extends Error {
  constructor(code, message) {
    super(message || code);
    this.code = code;
  }
}

export class Plimsoll {
  #o; #ws; #timer; #beat; #alive; #attempt = 0; #token = ''; #session = '';
  #received = 0; // messages of this session
  #sent = 0; // of ours, before #out[0]: they have arrived
  #out = []; // not known to have arrived
  #open; #closed; #id = 0; #calls = new Map();
  hello = null;

  // path (/ws) or url, onMessage(message), onState(state), maxDelay of a
  // reconnect, spread() of one who waits, timeout of a request (ms),
  // maxOut messages kept, WebSocket.
  constructor(options) {
    this.#o = { path: '/ws', maxDelay: 20000, timeout: 15000, maxOut: 256,
      onMessage() {}, onState() {}, ...options };
    globalThis.addEventListener?.('online', this.retry);
    this.#connect();
  }

  // send queues a message; false if too many wait already.
  send(type, data, id) {
    if (this.#closed || this.#out.length >= this.#o.maxOut) return false;
    const text = JSON.stringify({ type, id, data });
    this.#out.push({ id, text });
    if (this.#open) this.#ws.send(text);
    if (!(this.#out.length % 64) && type !== 'ping') this.#ping();
    return true;
  }

  // request resolves with the answer's data, or rejects with a PlimsollError.
  request(type, data, timeout = this.#o.timeout) {
    return new Promise((resolve, reject) => {
      const id = ++this.#id;
      const timer = setTimeout(() => this.#settle(id, 'timeout'), timeout);
      this.#calls.set(id, { resolve, reject, timer });
      if (!this.send(type, data, id)) this.#settle(id, this.#closed ? 'closed' : 'busy');
    });
  }

  close(code = 1000, reason = '') {
    this.#ws?.close(code, reason);
    this.#end(code, reason);
  }

  // retry ends the wait for a reconnect.
  retry = () => {
    if (this.#timer) this.#connect();
  };

  #settle(id, code, message) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    call?.reject(new PlimsollError(code, message));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#attempt) this.#o.onState({ state: 'connecting' });
    const url = new URL(this.#o.url || this.#o.path, globalThis.location?.href);
    url.protocol = url.protocol.replace('http', 'ws');
    if (this.#token) {
      url.searchParams.set('resume', this.#token);
      url.searchParams.set('received', this.#received);
    }
    const ws = new (this.#o.WebSocket || WebSocket)(url.href);
    this.#ws = ws;
    const giveUp = setTimeout(() => this.#lost(ws, 1006, ''), 10000);
    ws.onmessage = (e) => {
      if (ws !== this.#ws) return;
      clearTimeout(giveUp);
      this.#alive = Date.now();
      const frame = JSON.parse(e.data);
      for (const m of Array.isArray(frame) ? frame : [frame]) this.#take(m);
    };
    ws.onclose = (e) => {
      clearTimeout(giveUp);
      this.#lost(ws, e.code, e.reason);
    };
  }

  #take(m) {
    if (m.type === 'hello') return this.#hello(m.data);
    this.#received++;
    const call = this.#calls.get(m.id);
    if (m.id !== undefined && (m.type === 'ok' || m.type === 'error')) {
      // What was sent up to this request has arrived.
      const i = this.#out.findIndex((x) => x.id === m.id);
      this.#out.splice(0, i + 1);
      this.#sent += i + 1;
      if (m.type === 'error') this.#settle(m.id, m.data?.code, m.data?.message);
      else if (call) {
        this.#calls.delete(m.id);
        clearTimeout(call.timer);
        call.resolve(m.data);
      }
      if (call || String(m.id).startsWith('beat')) return;
    }
    this.#o.onMessage(m);
  }

  #hello(h) {
    this.hello = h;
    this.#token = h.resumeToken;
    this.#attempt = 0;
    if (h.resumed) {
      this.#out.splice(0, h.received - this.#sent);
    } else {
      this.#received = 0;
      if (this.#session) {
        // What was said in the old session is void.
        this.#out = [];
        for (const id of this.#calls.keys()) this.#settle(id, 'disconnected');
      }
    }
    this.#sent = h.received;
    this.#session = h.sessionId;
    this.#open = true;
    for (const x of this.#out) this.#ws.send(x.text);
    clearInterval(this.#beat);
    const every = (h.heartbeatSeconds || 25) * 1000;
    this.#beat = setInterval(() => {
      if (Date.now() - this.#alive > every * 2) return this.#lost(this.#ws, 1006, 'silent');
      this.#ping();
    }, every);
    this.#o.onState({ state: 'open', resumed: h.resumed });
  }

  // Its answer says what the hub has, its data what is here.
  #ping() {
    if (this.#open) this.send('ping', { received: this.#received }, 'beat' + ++this.#id);
  }

  #lost(ws, code, reason) {
    if (ws !== this.#ws || this.#closed) return;
    this.#ws = null;
    this.#open = false;
    clearInterval(this.#beat);
    ws.onmessage = ws.onclose = null;
    ws.close();
    if (FINAL.has(code)) return this.#end(code, reason);
    const hint = /retry-after=([\d.]+)/.exec(reason);
    const most = hint ? 1000 : Math.min(this.#o.maxDelay, Math.max(this.#o.spread?.() || 0, 500 * 2 ** this.#attempt));
    const inMs = (hint?.[1] ?? 0) * 1000 + Math.random() * most;
    this.#o.onState({ state: 'reconnecting', attempt: ++this.#attempt, inMs, code, reason });
    this.#timer = setTimeout(this.retry, inMs);
  }

  #end(code, reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.#open = false;
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    globalThis.removeEventListener?.('online', this.retry);
    for (const id of this.#calls.keys()) this.#settle(id, 'closed');
    this.#o.onState({ state: 'closed', code, reason });
  }
}
