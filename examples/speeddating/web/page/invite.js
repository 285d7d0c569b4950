// Invitations, both ways. The server counts the twenty seconds and says how
// each one ended; the page only shows it.

import { $, alarm, busy, face, open, say, shut, toast, wrong } from './dom.js'
import { fault, length, now, plural, secondsTo, time } from './words.js'
import { socket } from './socket.js'
import { closeDevices, openDevices } from './media.js'
import { ring, hush } from './ring.js'

let out = null // {inviteId, person, until, whole, left}: the one we made
let into = null // {inviteId, person, until, whole, seconds}: the one we got
let devices = null // a promise of openDevices(), begun with the click that wants a call
let ticker = 0

// Why an invitation ran out, where it was not the time.
const expired = {
  offline: (p) => `${p.name} has left.`,
  restart: () => 'The server restarts. You can ask again in a moment.',
}

/** pending says whether one waits for an answer, or is waited for. */
export const pending = () => Boolean(out || into)

/** takeDevices hands the camera over to the call, opened already if the click did. */
export function takeDevices() {
  const d = devices ?? openDevices()
  devices = null
  return d
}

function warmUp() {
  devices ??= openDevices()
}
function coolDown() {
  devices?.then(({ stream }) => closeDevices(stream))
  devices = null
}

export function start() {
  const ask = $('#ask')
  const range = $('#ask-range')
  range.addEventListener('input', () => slide(range, $('#ask-out')))
  $('#ask-form').addEventListener('submit', (e) => { e.preventDefault(); busy($('#ask .primary'), invite) })
  $('#ask-close').addEventListener('click', () => shut(ask))

  const wait = $('#wait')
  wait.addEventListener('cancel', (e) => { e.preventDefault(); busy($('#wait-rescind'), rescind) })
  $('#wait-extend').addEventListener('click', () => busy($('#wait-extend'), extend).then(paint))
  $('#wait-rescind').addEventListener('click', () => busy($('#wait-rescind'), rescind))

  const incoming = $('#incoming')
  const wish = $('#incoming-range')
  wish.addEventListener('input', () => { slide(wish, $('#incoming-out')); agree() })
  incoming.addEventListener('cancel', (e) => e.preventDefault()) // Escape must not answer for anybody
  $('#incoming-form').addEventListener('submit', (e) => { e.preventDefault(); busy($('#incoming .primary'), accept) })
  $('#incoming-decline').addEventListener('click', () => busy($('#incoming-decline'), decline))

  socket.on('call:notify', notify)
  socket.on('call:wait-extended', extended)
  socket.on('call:declined', ({ inviteId, reason }) => over(inviteId,
    reason === 'busy' ? (p) => `${p.name} has just begun another conversation.` : (p) => `${p.name} would rather not right now.`, ''))
  socket.on('call:rescinded', ({ inviteId, reason }) => over(inviteId, '',
    reason === 'vanished' ? (p) => `${p.name} has left.` : (p) => `${p.name} took the invitation back.`))
  socket.on('call:expired', ({ inviteId, reason }) => over(inviteId, expired[reason] ?? ((p) => `${p.name} did not answer in time.`),
    expired[reason] ?? ((p) => `The invitation of ${p.name} has run out.`)))
}

function slide(range, output) {
  const words = length(Number(range.value))
  output.textContent = words
  range.setAttribute('aria-valuetext', words)
}

/** ask opens the question how long to talk with a person. */
export function ask(person) {
  $('#ask-title').textContent = `Talk with ${person.name}`
  face($('#ask-face'), person)
  wrong($('#ask'), '')
  $('#ask').person = person
  $('#ask-range').value = localStorage.wish ?? 600
  slide($('#ask-range'), $('#ask-out'))
  open($('#ask'))
}

async function invite() {
  const person = $('#ask').person
  const seconds = Number($('#ask-range').value)
  localStorage.wish = seconds
  warmUp()
  try {
    const made = await socket.request('call:invite', { toUserId: person.userId, requestedSeconds: seconds })
    shut($('#ask'))
    outgoing(made)
    say(`${person.name} is invited. Waiting for an answer.`)
  } catch (err) {
    coolDown()
    wrong($('#ask'), fault(err, { busy: `${person.name} is busy right now.`, offline: `${person.name} has just left.` }))
  }
}

function outgoing(view) {
  const until = time(view.expiresAt)
  out = { inviteId: view.inviteId, person: view.toUser, until, whole: Math.max(1, (until - now()) / 1000), left: view.extensionsLeft }
  $('#wait-title').textContent = `Waiting for ${out.person.name}`
  face($('#wait-face'), out.person)
  wrong($('#wait'), '')
  open($('#wait'))
  tick()
}

async function extend() {
  try {
    const view = await socket.request('call:extend-wait', { inviteId: out.inviteId })
    if (out) out.left = view.extensionsLeft
    say('You are waiting a little longer.')
  } catch (err) {
    wrong($('#wait'), fault(err, { too_many: 'That was the last time.' }))
  }
}

async function rescind() {
  if (!out) return
  const { inviteId } = out
  try {
    await socket.request('call:rescind', { inviteId })
  } catch { /* it is over, or the server will say so */ }
  if (out?.inviteId === inviteId) end('out')
  say('You took the invitation back.')
}

function notify(view) {
  shut($('#ask'))
  const until = time(view.expiresAt)
  into = { inviteId: view.inviteId, person: view.fromUser, seconds: view.requestedSeconds, until, whole: Math.max(1, (until - now()) / 1000) }
  const { person, seconds } = into
  $('#incoming-title').textContent = `${person.name} would like to talk`
  $('#incoming-wish').textContent = `For ${length(seconds)}.` + (person.introducedBy ? ` Introduced by ${person.introducedBy}.` : '')
  face($('#incoming-face'), person)
  wrong($('#incoming'), '')
  const range = $('#incoming-range')
  range.value = seconds
  slide(range, $('#incoming-out'))
  agree()
  open($('#incoming'))
  $('#incoming .primary').focus()
  alarm(`${person.name} would like to talk with you for ${length(seconds)}. Accept or decline.`)
  ring()
  document.title = `${person.name} invites you`
  tick()
}

function agree() {
  if (into) $('#incoming-agreed').textContent = `Together that is ${length(Math.floor((into.seconds + Number($('#incoming-range').value)) / 2))}.`
}

async function accept() {
  const { inviteId } = into
  hush()
  warmUp()
  try {
    await socket.request('call:accept', { inviteId, requestedSeconds: Number($('#incoming-range').value) })
    if (into?.inviteId === inviteId) $('#incoming-left').textContent = 'The call begins…'
  } catch (err) {
    coolDown()
    if (err.code === 'invalid_duration' || err.code === 'offline_self') return wrong($('#incoming'), fault(err))
    end('in')
    toast(fault(err, { not_found: 'The invitation is over.', busy: 'One of you has begun another conversation.' }), true)
  }
}

async function decline() {
  const { inviteId, person } = into
  try {
    await socket.request('call:decline', { inviteId })
  } catch { /* it was over already */ }
  if (into?.inviteId === inviteId) end('in')
  say(`You declined the invitation of ${person.name}.`)
}

function extended({ inviteId, expiresAt }) {
  for (const one of [out, into]) {
    if (one?.inviteId !== inviteId || !expiresAt) continue
    one.until = time(expiresAt)
    one.whole = Math.max(one.whole, (one.until - now()) / 1000)
  }
  if (into?.inviteId === inviteId) say(`${into.person.name} waits a little longer.`)
  tick()
}

// over: the server ended an invitation. Whoever pressed the button has seen
// it end already, so for them there is nothing to tell.
function over(inviteId, toCaller, toCallee) {
  if (out?.inviteId === inviteId) {
    const { person } = out
    end('out')
    if (toCaller) toast(toCaller(person))
  }
  if (into?.inviteId === inviteId) {
    const { person } = into
    end('in')
    if (toCallee) toast(toCallee(person))
  }
}

function end(which) {
  if (which === 'out') out = null
  else {
    into = null
    hush()
    document.title = 'Evenings'
  }
  shut($(which === 'out' ? '#wait' : '#incoming'))
  coolDown()
  if (!out && !into) clearTimeout(ticker)
}

/** settle closes what is open because a call has begun; the camera stays. */
export function settle() {
  out = into = null
  hush()
  document.title = 'Evenings'
  clearTimeout(ticker)
  shut($('#ask'))
  shut($('#wait'))
  shut($('#incoming'))
}

/** restore shows what hello says is open, and closes what is not any more. */
export function restore(view) {
  if (!view) {
    if (out) over(out.inviteId, (p) => `The invitation to ${p.name} is over.`, '')
    if (into) over(into.inviteId, '', (p) => `The invitation of ${p.name} is over.`)
    return
  }
  if (view.inviteId === out?.inviteId || view.inviteId === into?.inviteId) return extended(view)
  if (view.outgoing) outgoing(view)
  else notify(view)
}

function tick() {
  clearTimeout(ticker)
  paint()
  if (out || into) ticker = setTimeout(tick, 250)
}

function paint() {
  for (const [one, hand, left] of [[out, '#wait-hand', '#wait-left'], [into, '#incoming-hand', '#incoming-left']]) {
    if (!one) continue
    const seconds = secondsTo(one.until)
    $(hand).style.strokeDashoffset = String(100 - Math.min(100, (100 * seconds) / one.whole))
    $(left).textContent = seconds > 0 ? `${plural(Math.ceil(seconds), 'second')} left.` : 'Time is up.'
  }
  if (!out) return
  $('#wait-extend').disabled = out.left === 0
  $('#wait-extend').textContent = out.left ? `Wait longer (${plural(out.left, 'time')} left)` : 'No more waiting'
}
