// The HTTP side. The session travels in an HttpOnly cookie that no script
// sees, so there is no token here to lose.

import { setClock } from './words.js'

/** Refused is an answer that is not 2xx, or (status 0) no answer at all. */
export class Refused extends Error {
  constructor(status, code, message, retryAfter = 0) {
    super(message)
    Object.assign(this, { status, code, retryAfter })
  }
}

async function call(method, path, body) {
  const init = { method, headers: {}, credentials: 'same-origin', cache: 'no-store' }
  if (body instanceof Blob) {
    init.body = body
    init.headers['Content-Type'] = body.type || 'application/octet-stream'
  } else if (body !== undefined) {
    init.body = JSON.stringify(body)
    init.headers['Content-Type'] = 'application/json'
  }
  let res
  try {
    res = await fetch(path, init)
  } catch {
    throw new Refused(0, 'unreachable', 'The server cannot be reached.')
  }
  setClock(res.headers.get('Date'))
  const text = await res.text()
  let json = null
  try { json = text ? JSON.parse(text) : null } catch { /* not ours: a proxy's page */ }
  if (res.ok) return json
  const e = json?.error ?? {}
  throw new Refused(res.status, e.code ?? String(res.status), e.message ?? res.statusText, Number(res.headers.get('Retry-After')) || 0)
}

export const api = {
  guest: (name, gender, introCode) => call('POST', '/auth/guest', introCode ? { name, gender, introCode } : { name, gender }),
  link: (email, password) => call('POST', '/auth/link', { email, password }),
  login: (email, password) => call('POST', '/auth/login', { email, password }),
  logout: () => call('POST', '/auth/logout'),
  me: () => call('GET', '/user/me'),
  saveMe: (change) => call('PUT', '/user/me', change),
  saveSelfie: (blob) => call('PUT', '/media/selfie', blob),
  history: (cursor = '') => call('GET', `/room/history?cursor=${encodeURIComponent(cursor)}`),
  makeIntro: () => call('POST', '/intro', {}),
  intro: (code) => call('GET', `/intro/${encodeURIComponent(code)}`),
  report: (userId, reason) => call('POST', '/report', { userId, reason }),
  iceServers: async () => (await call('GET', '/turn/credentials')).iceServers ?? [],
  live: () => call('GET', '/stats/live'),
  ready: () => call('GET', '/readyz'),
}
