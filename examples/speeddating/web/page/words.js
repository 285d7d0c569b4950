// Numbers, times and codes, in words.

let offset = 0 // milliseconds that the server's clock is ahead of ours

/** now is the server's time: countdowns must not trust the clock of a phone. */
export const now = () => Date.now() + offset

/** setClock learns from an HTTP Date header, which is exact to a second. */
export function setClock(header) {
  const ahead = Date.parse(header) + 500 - Date.now()
  if (Number.isFinite(ahead)) offset = Math.abs(ahead) > 1500 ? ahead : 0
}

/** time reads a moment from the wire. */
export const time = (t) => (typeof t === 'number' ? t : Date.parse(t))

/** secondsTo counts down to a moment of the server, never below 0. */
export const secondsTo = (t) => Math.max(0, (t - now()) / 1000)

export const plural = (n, one, many = one + 's') => `${n} ${n === 1 ? one : many}`

/** clock: 4:07. */
export function clock(seconds) {
  const s = Math.ceil(seconds)
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`
}

/** length: 10 minutes, 7 min 30 s, 40 seconds. */
export function length(seconds) {
  const s = Math.round(seconds)
  if (s < 60) return plural(s, 'second')
  if (s % 60 === 0) return plural(s / 60, 'minute')
  return `${Math.floor(s / 60)} min ${s % 60} s`
}

/** total: how long somebody has talked in all. */
export function total(seconds) {
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return length(seconds < 60 ? seconds : minutes * 60)
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** until: in 21 hours. */
export function until(t) {
  const s = secondsTo(t)
  if (s < 90) return 'in a minute'
  if (s < 5400) return `in ${Math.round(s / 60)} minutes`
  return `in ${plural(Math.round(s / 3600), 'hour')}`
}

/** brief: 21 h, for a button. */
export function brief(t) {
  const s = secondsTo(t)
  return s < 5400 ? `${Math.max(1, Math.round(s / 60))} min` : `${Math.round(s / 3600)} h`
}

/** day: today at 20:15, Friday at 20:15, 3 May at 20:15. */
export function day(t) {
  const d = new Date(t)
  const at = d.toLocaleTimeString([], { hour: 'numeric', minute: '2-digit' })
  const midnight = (x) => new Date(x).setHours(0, 0, 0, 0)
  const ago = Math.round((midnight(now()) - midnight(d)) / 86400000)
  if (ago === 0) return `today at ${at}`
  if (ago === 1) return `yesterday at ${at}`
  if (ago < 7) return `${d.toLocaleDateString([], { weekday: 'long' })} at ${at}`
  return `${d.toLocaleDateString([], { day: 'numeric', month: 'long' })} at ${at}`
}

export const genders = { female: 'Woman', male: 'Man', nonbinary: 'Nonbinary', unspecified: '' }

/** networks are the contacts that the page offers; the server keeps any eight. */
export const networks = {
  instagram: 'Instagram', telegram: 'Telegram', signal: 'Signal', whatsapp: 'WhatsApp',
  snapchat: 'Snapchat', tiktok: 'TikTok', discord: 'Discord', website: 'Website',
}
export const network = (key) => networks[key] ?? key

const errors = {
  busy: 'They have just begun to talk with somebody else.',
  offline: 'They have just left.',
  cooldown: 'You two have met a short while ago.',
  invalid_target: 'You cannot invite this person.',
  user_not_found: 'This person is not here any more.',
  invalid_duration: 'A conversation lasts from one to thirty minutes.',
  not_found: 'That is over already.',
  too_many: 'That was a little fast. Please wait a moment.',
  too_large: 'That is too large: a picture may have up to 2 MB.',
  busy_server: 'It is full here at the moment. Please try again in a minute.',
  draining: 'The server is being restarted. Please try again in a moment.',
  internal: 'Something went wrong on our side. Please try again.',
  unavailable: 'Something does not answer on our side. Please try again in a moment.',
  under_review: 'Your place is under review.',
  banned: 'Your place has been closed.',
  offline_self: 'There is no connection to the server right now.',
}

/** fault puts an error into words, preferring this place's own for its code. */
export function fault(err, own = {}) {
  const code = err?.code ?? ''
  const text = own[code] ?? errors[code] ?? err?.message
  if (!text) return 'That did not work.'
  const said = text[0].toUpperCase() + text.slice(1)
  return /[.!?…]$/.test(said) ? said : said + '.'
}
