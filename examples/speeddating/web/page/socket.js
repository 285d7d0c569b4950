// The one socket of this page, on the SDK's client: it reconnects with jitter,
// resumes, unpacks batches and keeps the heartbeat. This file gives it the
// names that the rest of the page uses.

import { Plimsoll } from '/assets/plimsoll.js'

const handlers = new Map()
let client = null
let state = 'off'

function emit(type, ...args) {
  for (const fn of handlers.get(type) ?? []) fn(...args)
}

export const socket = {
  /** on('room:chat', data => …); also 'state' (state, info) and 'hello'. */
  on(type, fn) {
    handlers.set(type, [...(handlers.get(type) ?? []), fn])
  },

  /** open connects and stays connected until close. */
  open() {
    if (client) return
    client = new Plimsoll('/ws', {
      onmessage: (m) => emit(m.type, m.data ?? {}),
      onstate: (s, info) => { state = s; emit('state', s, info) },
    })
  },

  /** close says goodbye: the server acts at once. */
  close() {
    client?.close()
    client = null
    state = 'off'
  },

  /** retry connects now instead of after the wait. */
  retry() {
    client?.retry()
  },

  isOpen: () => state === 'open',

  /** request sends and gives the data of the answer; it throws {code, message}. */
  async request(type, data = {}) {
    if (state !== 'open') throw Object.assign(new Error('There is no connection to the server right now.'), { code: 'offline_self' })
    return client.request(type, data)
  },
}
