// The page: which screen is open, who is looking, and how it stands with the
// connection. The screens are in files of their own; messages come by socket.js.

import { $, $$, alarm, busy, say, show, toast } from './dom.js'
import { api } from './api.js'
import * as call from './call.js'
import * as history from './history.js'
import * as invite from './invite.js'
import * as me from './me.js'
import * as picture from './picture.js'
import * as queue from './queue.js'
import * as report from './report.js'
import * as settings from './settings.js'
import { socket } from './socket.js'
import { fault, plural } from './words.js'

const introCode = new URLSearchParams(location.search).get('intro') ?? ''
let liveTimer = 0
let arriving = false // a newcomer, not yet shown to anybody

// ── beginning ─────────────────────────────────────────────────────────────

async function boot() {
  try {
    await me.load()
    enter()
  } catch (err) {
    if (err.status === 401) return landing()
    if (err.code === 'under_review' || err.code === 'banned') return underReview(err.code)
    stopped(err.status === 0 ? 'No connection' : 'One moment, please',
      err.status === 503 ? 'It is very full here, or the server is being restarted. Please try again in a moment.' : fault(err),
      'Try again', boot)
  }
}

function landing() {
  leaveAll()
  show('landing')
  $('#to-login').hidden = false
  document.title = 'Evenings'
  live()
  liveTimer = setInterval(live, 15000)
  if (introCode) introduced()
}

async function live() {
  try {
    const { onlineUsers: n, activeCalls: talks } = await api.live()
    $('#here').hidden = n === 0
    $('#here span').textContent = `${plural(n, 'person', 'people')} here` + (talks ? `, ${plural(talks, 'conversation')}` : '') + ' right now'
  } catch {
    $('#here').hidden = true
  }
}

async function introduced() {
  const box = $('#introduced')
  try {
    const link = await api.intro(introCode)
    box.textContent = link.to.userId === link.by.userId ? `${link.by.name} has invited you. You will be introduced to each other.` : `${link.by.name} would like you to meet ${link.to.name}.`
  } catch {
    box.textContent = 'This invitation link is not valid any more. You are welcome without it.'
  }
  box.hidden = false
}

function enter(fresh = false) {
  clearInterval(liveTimer)
  $('#to-login').hidden = true
  $('#tabs').hidden = false
  $('#state').hidden = false
  if (introCode) window.history.replaceState(null, '', location.pathname + location.hash)
  socket.open()
  if (!fresh) return route()
  arriving = true
  picture.choose(() => go('people'))
}

// beFree joins the queue, unless something else comes first: a call, the look
// back at one, or the picture of somebody who has just come in.
async function beFree() {
  if (arriving || call.talking() || call.summary() || !socket.isOpen()) return
  try {
    await queue.join()
  } catch (err) {
    toast(fault(err), true)
  }
}

function leaveAll() {
  clearInterval(liveTimer)
  call.drop()
  invite.settle()
  picture.stop()
  arriving = false
  socket.close()
  queue.clear()
  me.set(null)
  $('#tabs').hidden = true
  $('#state').hidden = true
  $('#to-login').hidden = true
  notice('')
  for (const d of $$('dialog[open]')) d.close()
}

// ── where one is ──────────────────────────────────────────────────────────

const places = ['people', 'history', 'settings']

function go(place) {
  if (location.hash === `#${place}`) route()
  else location.hash = place
}

function route() {
  if (!me.me() || call.talking() || call.summary()) return
  const hash = location.hash.slice(1)
  const place = places.includes(hash) ? hash : 'people'
  if (arriving) {
    arriving = false
    beFree()
  }
  for (const a of $$('#tabs a')) {
    if (a.hash === `#${place}`) a.setAttribute('aria-current', 'page')
    else a.removeAttribute('aria-current')
  }
  picture.stop()
  if (place === 'history') history.refresh()
  document.title = { people: 'Evenings', history: 'Your conversations · Evenings', settings: 'You · Evenings' }[place]
  show(place)
}

// While a summary is open one is not free; leaving it, by whatever link, is
// the wish to be.
function leaveSummary(place) {
  call.dismiss()
  go(place)
  beFree()
}

/** stopped is a screen that says why there is nothing else, and what to do. */
function stopped(title, text, action, act, second, secondAct) {
  $('#stopped-title').textContent = title
  $('#stopped-text').textContent = text
  $('#stopped-action').textContent = action
  $('#stopped-action').onclick = () => busy($('#stopped-action'), async () => act())
  $('#stopped-second').hidden = !second
  $('#stopped-second').textContent = second ?? ''
  $('#stopped-second').onclick = secondAct ?? null
  show('stopped')
  document.title = `${title} · Evenings`
  alarm(`${title}. ${text}`)
}

function underReview(code) {
  leaveAll()
  stopped(code === 'banned' ? 'Your place has been closed' : 'Your place is under review',
    code === 'banned' ? 'Somebody has looked at the reports about you and decided so.'
      : 'Several people have reported you. Somebody will look at it; until then nobody is shown to you, and you to nobody.',
    'Look again', () => location.reload(), 'Log out', async () => { await api.logout().catch(() => {}); landing() })
}

function sessionOver(reason) {
  leaveAll()
  stopped('This session has ended',
    { logout: 'You have logged out.', login: 'You have logged in somewhere else, and one place at a time is enough.' }[reason] ?? 'You have logged in somewhere else, or your time as a guest is over.',
    'Log in', () => { leaveAll(); show('login') }, 'Come in as somebody new', landing)
}

// ── the connection, in words ──────────────────────────────────────────────

let why = ''
let noticeAct = null

function notice(text, action, act) {
  $('#notice').hidden = !text
  $('#notice-text').textContent = text
  $('#notice-action').hidden = !action
  $('#notice-action').textContent = action ?? ''
  noticeAct = act
}

function connection({ state, attempt = 1, inMs = 1000, code, reason }) {
  const words = { connecting: 'Connecting…', open: 'Connected', reconnecting: 'Reconnecting…', closed: 'Not connected' }[state]
  $('#state').dataset.state = state
  $('#state-text').textContent = words
  document.body.dataset.connection = state
  call.connectionChanged()
  clearInterval(countdown)
  if (state === 'open') {
    if (lostAt) say('Connected again.')
    lostAt = 0
    why = ''
    elsewhere(other)
  } else if (state === 'reconnecting') waiting(attempt, inMs)
  else if (state === 'closed' && me.me()) closed(code, reason)
}

// A short cut is healed before anybody has read a word about it, so the bar
// comes only after a second; the state at the top and the call tell at once.
let countdown = 0
let lostAt = 0
function waiting(attempt, inMs) {
  lostAt ||= Date.now()
  const at = Date.now() + inMs
  const tell = () => {
    if (Date.now() - lostAt < 1000) return
    const left = Math.ceil((at - Date.now()) / 1000)
    notice(`${why || 'The connection is lost.'} ${left > 0 ? `Trying again in ${plural(left, 'second')}.` : 'Trying again…'}`, 'Try now', () => socket.retry())
  }
  tell()
  if (attempt === 2 || attempt % 5 === 0) alarm(`${why || 'The connection is lost.'} Trying to reconnect.`)
  countdown = setInterval(tell, 250)
  if (attempt > 1) diagnose()
}

// A browser does not show scripts why a WebSocket was refused, so ask by HTTP.
async function diagnose() {
  try {
    await api.me()
    await api.ready()
    why = 'All places are taken at the moment.' // everything answers but the socket
  } catch (err) {
    if (err.status === 401) return sessionOver()
    if (err.code === 'under_review' || err.code === 'banned') return underReview(err.code)
    why = { 0: 'The server cannot be reached.', 503: 'The server is full or being restarted.', 429: 'That was a little too often.' }[err.status] ?? ''
  }
}

function closed(code, reason) {
  if (code === 4002) return sessionOver(reason)
  if (code === 4003) return underReview()
  if (code === 4001) {
    leaveAll()
    return stopped('Open in another window', 'Evenings is open in more windows than we can serve for one person, so this one was closed.',
      'Use it here', () => location.reload())
  }
  leaveAll()
  stopped('The connection was closed', 'The server closed this connection and will not take it up again by itself.', 'Start again', () => location.reload())
}

let other = null
function elsewhere(theirs) {
  other = theirs
  if (!theirs) return notice('')
  notice(`You are in a call with ${theirs.peer.name} in another window.`, 'Continue here', () => call.rejoin(theirs.roomId))
}

function hello(h) {
  call.restore(h.call, h.resumed)
  if (h.resumed) return
  invite.restore(h.invite)
  if (!h.call) beFree()
}

// ── wiring ────────────────────────────────────────────────────────────────

socket.spread = () => (call.talking() || invite.pending() ? 0 : queue.spread())
socket.on('state', connection)
socket.on('hello', hello)
socket.on('call:start', () => { arriving = false; picture.stop() })
socket.on('metrics:update', (m) => { if (me.me()) me.set({ ...me.me(), metrics: { ...me.me().metrics, ...m } }) })
socket.on('account:review', ({ reason }) => underReview(reason))
socket.on('session:invalidated', ({ reason }) => sessionOver(reason))

call.start({
  elsewhereChanged: elsewhere,
  done: () => leaveSummary('people'),
})
queue.start(invite.ask)
invite.start()
picture.start()
history.start()
report.start()
settings.start({
  loggedOut: landing,
  toLogin: () => { leaveAll(); show('login') },
  toSettings: () => { show('loading'); route() },
})

for (const a of $$('.tabs a, .brand')) {
  a.addEventListener('click', (e) => {
    if (!call.summary()) return
    e.preventDefault()
    leaveSummary(a.hash.slice(1))
  })
}
$('#notice-action').addEventListener('click', () => noticeAct?.())
$('#to-login').addEventListener('click', () => { clearInterval(liveTimer); $('#to-login').hidden = true; show('login') })
$('#login-back').addEventListener('click', boot)
addEventListener('hashchange', route)

settings.submit($('#signup'), async () => {
  const form = $('#signup').elements
  const name = form.name.value.trim()
  if (!name) {
    form.name.focus()
    throw new Error('Please write the name that others will see.')
  }
  try {
    await api.guest(name, form.gender.value, introCode)
  } catch (err) {
    if (!introCode || err.code !== 'not_found') throw err
    await api.guest(name, form.gender.value, '') // the link is old; one is welcome without it
  }
  await me.load()
  enter(true)
})

settings.submit($('#login'), async () => {
  const form = $('#login').elements
  await api.login(form.email.value.trim(), form.password.value)
  form.password.value = ''
  await me.load()
  enter()
}, { unauthenticated: 'E-mail and password do not fit together.' })

boot()
