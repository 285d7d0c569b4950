// The one socket of this page, on the SDK's client: it reconnects with jitter,
// resumes, sends again what was lost, unpacks batches and keeps the heartbeat.
// This file gives it the names that the rest of the page uses.

import { Plimsoll } from '/assets/plimsoll.js'

const handlers = new Map()
let client = null
let generation = 0 // of the client: what an older one says does not count
let state = 'off' // connecting, open, reconnecting, closed

function emit(type, ...args) {
  for (const fn of handlers.get(type) ?? []) fn(...args)
}

const unreachable = new Set(['timeout', 'disconnected', 'closed'])

export const socket = {
  /** spread gives over how many ms one may put off coming back to a server that died; the page sets it. */
  spread: () => 0,

  /** on('room:chat', data => …); also on('state', info => …) and on('hello', …). */
  on(type, fn) {
    handlers.set(type, [...(handlers.get(type) ?? []), fn])
  },

  /** open connects and stays connected until close. */
  open() {
    if (client) return
    const mine = ++generation
    client = new Plimsoll({
      spread: () => socket.spread(),
      onMessage: (m) => { if (mine === generation) emit(m.type, m.data ?? {}) },
      onState: (info) => {
        if (mine !== generation) return
        state = info.state
        emit('state', info)
        if (state === 'open') emit('hello', client.hello)
      },
    })
  },

  /** close says goodbye: the server acts at once. */
  close() {
    const old = client
    client = null
    generation++ // its last words are for nobody
    state = 'off'
    old?.close()
  },

  /** retry connects now instead of after the wait: the client takes it for a network that came back. */
  retry() {
    dispatchEvent(new Event('online'))
  },

  isOpen: () => state === 'open',

  /**
   * request sends and gives the data of the answer; it throws {code, message}.
   * What is asked during a short cut is sent when the session is resumed.
   */
  async request(type, data = {}) {
    if (!client) throw lost()
    try {
      return await client.request(type, data)
    } catch (err) {
      throw unreachable.has(err.code) ? lost() : err
    }
  },
}

const lost = () => Object.assign(new Error('There is no connection to the server right now.'), { code: 'offline_self' })
