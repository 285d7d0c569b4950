// The call: two pictures, a clock that the server keeps, a chat beside them,
// and a way back into all of it when a connection breaks or a page reloads.

import { $, alarm, busy, el, face, open, say, show, shut, toast, wrong } from './dom.js'
import { api } from './api.js'
import { Link } from './rtc.js'
import { closeDevices, openCamera } from './media.js'
import { me, save } from './me.js'
import { report } from './report.js'
import { settle, takeDevices } from './invite.js'
import { socket } from './socket.js'
import { clock, fault, length, network, networks, secondsTo, time } from './words.js'

let call = null // the call that this page takes part in
let elsewhere = null // the call that another page of ours takes part in
let ended = null // what the summary is about
let returning = null // {roomId, early} while call:resume is on its way
let onElsewhere = () => {}

const video = $('#remote')
const log = $('#chat-log')
let low = true // whether the end of the log is in sight

/** talking and summary tell what this page shows: a call, or how one was. */
export const talking = () => call !== null
export const summary = () => ended !== null

/** dismiss puts the summary away. */
export function dismiss() {
  ended = null
}

/**
 * start wires the screen. elsewhereChanged is told of a call in another window
 * (or null); done is asked for when the summary is to be left.
 */
export function start({ elsewhereChanged, done }) {
  onElsewhere = elsewhereChanged
  socket.on('call:start', (data) => {
    settle()
    if (data.here !== false) return begin(data)
    if (call?.roomId === data.roomId) stop()
    away(data)
  })
  for (const kind of ['rtc:offer', 'rtc:answer', 'rtc:ice']) {
    socket.on(kind, (data) => {
      if (data.roomId === returning?.roomId) returning.early.push(data)
      else if (data.roomId !== call?.roomId) return
      else if (call.link) call.link.receive(data)
      else call.early.push(data)
    })
  }
  socket.on('room:chat', (line) => { if (line.roomId === call?.roomId) addLine(line) })
  socket.on('room:socialShared', (s) => { if (s.roomId === call?.roomId) addSocials(s) })
  socket.on('peer:away', (d) => peer(d, 'away'))
  socket.on('peer:disconnected', (d) => peer(d, 'gone'))
  socket.on('peer:back', (d) => {
    peer(d, 'here')
    if (d.roomId !== call?.roomId || !d.restart) return
    call.early = []
    connect(call)
  })
  socket.on('session:finalized', (d) => {
    if (d.roomId === call?.roomId) finish(d)
    if (d.roomId === elsewhere?.roomId) away(null)
  })

  $('#mic').addEventListener('click', toggleMic)
  $('#cam').addEventListener('click', () => busy($('#cam'), toggleCam))
  $('#hangup').addEventListener('click', () => busy($('#hangup'), hangUp))
  $('#share').addEventListener('click', openShare)
  $('#share-close').addEventListener('click', () => shut($('#share-dialog')))
  $('#share-form').addEventListener('submit', (e) => { e.preventDefault(); busy($('#share-form .primary'), share) })
  $('#chat-form').addEventListener('submit', (e) => { e.preventDefault(); busy($('#chat-form .primary'), sendLine) })
  $('#unblock').addEventListener('click', () => { video.muted = false; play() })
  $('#after-back').addEventListener('click', () => done())
  $('#after-report').addEventListener('click', () => ended && report([ended.peer]))
  log.addEventListener('scroll', () => { low = log.scrollHeight - log.scrollTop - log.clientHeight < 80 })
  new ResizeObserver(() => { if (low) log.scrollTop = log.scrollHeight }).observe(log) // a phone's keyboard takes half of it
  setInterval(tick, 250)
  setInterval(watchPicture, 1500)
}

/** restore brings the page in line with what hello says. */
export function restore(theirs, resumed) {
  if (resumed) {
    if (call && !call.link?.connected) api.iceServers().then((s) => call?.link?.restartIce(s)).catch(() => call?.link?.restartIce())
    return
  }
  if (call && theirs?.roomId !== call.roomId) finish({ reason: 'lost' })
  if (!theirs) return away(null)
  if (call || sessionStorage.call === theirs.roomId) return rejoin(theirs.roomId)
  away(theirs)
}

/** rejoin makes this page the one that takes part. */
export async function rejoin(roomId) {
  if (returning) return
  settle()
  say('Coming back into the call…')
  const early = []
  try {
    returning = { roomId, early }
    const view = await socket.request('call:resume', { roomId })
    returning = null
    away(null)
    begin(view, view.chat ?? [], view.socials ?? [], early)
  } catch (err) {
    returning = null
    if (err.code === 'offline_self') return // the next hello tries again
    if (call) finish({ reason: 'lost' })
    else toast(fault(err, { not_found: 'The call is over.' }), true)
    away(null)
  }
}

function away(theirs) {
  elsewhere = theirs
  onElsewhere(theirs)
}

async function begin(data, chat = [], socials = [], early = []) {
  const again = call?.roomId === data.roomId ? call : null
  const c = again ?? { roomId: data.roomId, media: takeDevices(), stream: null, link: null, tries: 0, lines: [], socials: [], told: new Set() }
  c.link?.close()
  Object.assign(c, {
    link: null, early, peer: data.peer, initiator: data.isInitiator, endsAt: time(data.endsAt), whole: data.agreedSeconds,
    state: 'connecting', other: 'here', frames: -1, still: 0,
  })
  call = c
  ended = null
  sessionStorage.call = c.roomId
  face($('#cover-face'), c.peer)
  $('#call-name').textContent = c.peer.name
  $('#call-title').textContent = `Call with ${c.peer.name}`
  document.title = `${c.peer.name} · Evenings`
  showHistory(c, chat, socials)
  if (!again) {
    for (const d of document.querySelectorAll('dialog[open]')) d.close()
    video.muted = false
    off($('#mic'), false, 'Mute')
    off($('#cam'), false, 'Camera off')
    show('call')
    say(`You are in a call with ${c.peer.name} for ${length(c.whole)}.`)
  }
  paint()
  const { stream, problem } = await c.media
  if (call !== c) return closeDevices(c.stream ? null : stream)
  if (!c.stream) {
    c.stream = stream
    $('#local').srcObject = stream
    if (stream.getVideoTracks().length === 0) off($('#cam'), true, 'Camera on')
    $('#mic').disabled = stream.getAudioTracks().length === 0
    selfWords()
    if (problem) toast(problem, true)
  }
  connect(c)
}

// connect builds a fresh connection; what arrives before it stands waits.
async function connect(c) {
  c.link?.close()
  c.link = null
  const round = (c.round = (c.round ?? 0) + 1)
  c.state = 'connecting'
  paint()
  const iceServers = await api.iceServers().catch(() => [])
  if (!c.stream) return // the camera is still opening; begin connects
  if (call !== c || c.round !== round) return
  c.link = new Link({
    initiator: c.initiator, iceServers, stream: c.stream,
    send: (type, data) => socket.request(type, { roomId: c.roomId, ...data }).catch((err) => console.debug(type, err.code)),
    onRemote: (stream) => { video.srcObject = stream; play() },
    onState: (state) => {
      if (call !== c || c.round !== round) return
      c.state = state
      if (state === 'connected') c.tries = 0
      if (state === 'lost' && c.other === 'here' && c.tries < 3) {
        c.tries++
        rejoin(c.roomId) // both sides start over
      }
      paint()
    },
  })
  for (const message of c.early.splice(0)) c.link.receive(message)
}

function play() {
  video.play().then(() => { $('#unblock').hidden = !video.muted }, (err) => {
    if (err.name !== 'NotAllowedError') return
    $('#unblock').hidden = false
    video.muted = true
    video.play().catch(() => {})
  })
}

function peer({ roomId }, is) {
  if (roomId !== call?.roomId) return
  call.other = is
  paint()
}

/** connectionChanged tells the call that our own socket opened or broke. */
export function connectionChanged() {
  if (call) paint()
}

// paint says in words how it stands: on the picture when there is none, and
// always beside the name.
let said = ''
function paint() {
  const { peer: p, state, other, still, frames } = call
  let line = 'Connected'
  let cover = ''
  if (!socket.isOpen()) line = 'You are reconnecting…'
  else if (other === 'away') line = cover = `${p.name} is reconnecting…`
  else if (other === 'gone') line = cover = `${p.name} has left.`
  else if (state === 'connecting') line = cover = `Connecting with ${p.name}…`
  else if (state === 'interrupted') line = cover = 'The line is interrupted. Looking for another way…'
  else if (state === 'lost') line = cover = 'No way for picture and sound was found. You can still write.'
  else if (still > 1) cover = frames > 0 ? `No picture from ${p.name} at the moment.` : `${p.name} is here without a picture.`
  $('#call-state').textContent = line
  $('#cover').hidden = !cover
  $('#cover').classList.toggle('thin', (other === 'away' || state === 'interrupted') && frames > 0)
  $('#cover-text').textContent = cover
  const now = cover || line
  if (now !== said) say((said = now))
}

function tick() {
  if (!call) return
  const left = secondsTo(call.endsAt)
  $('#call-left').textContent = clock(left)
  $('#call-bar').style.transform = `scaleX(${Math.min(1, left / call.whole)})`
  $('#call-left').parentElement.classList.toggle('soon', left <= 30)
  for (const [at, words] of [[60, 'One minute left.'], [10, 'Ten seconds left.']]) {
    if (left <= at && left > at - 3 && call.whole > at + 5 && !call.told.has(at)) {
      call.told.add(at)
      addTold(words)
    }
  }
}

// watchPicture notices by itself when no new picture arrives, whatever the reason.
async function watchPicture() {
  const c = call
  if (c?.state !== 'connected' || !c.link) return
  const frames = await c.link.framesDecoded().catch(() => 0)
  if (c !== call) return
  c.still = frames === c.frames || frames === 0 ? c.still + 1 : 0
  c.frames = frames
  paint()
}

// ── controls ──────────────────────────────────────────────────────────────

// off marks a device that is switched off; the words say what a press does.
function off(button, is, words) {
  button.dataset.off = is
  $('span', button).textContent = words
}

function toggleMic() {
  const track = call?.stream?.getAudioTracks()[0]
  if (!track) return
  track.enabled = !track.enabled
  off($('#mic'), !track.enabled, track.enabled ? 'Mute' : 'Unmute')
  say(track.enabled ? 'Your microphone is on.' : 'Your microphone is off.')
  selfWords()
}

// The camera is really given back, so that its light goes out.
async function toggleCam() {
  const c = call
  if (!c?.stream) return
  const old = c.stream.getVideoTracks()[0]
  if (old) {
    await c.link?.replace('video', null)
    old.stop()
    c.stream.removeTrack(old)
  } else {
    try {
      const track = await openCamera()
      if (call !== c) return track.stop()
      c.stream.addTrack(track)
      await c.link?.replace('video', track)
    } catch {
      return toast('The camera could not be opened.', true)
    }
  }
  $('#local').srcObject = null
  $('#local').srcObject = c.stream
  off($('#cam'), Boolean(old), old ? 'Camera on' : 'Camera off')
  say(old ? 'Your camera is off.' : 'Your camera is on.')
  selfWords()
}

function selfWords() {
  const seen = call.stream.getVideoTracks().length > 0
  const heard = call.stream.getAudioTracks()[0]?.enabled
  const words = [!seen && 'Camera off', !heard && 'Muted'].filter(Boolean).join(' · ')
  $('#self-text').textContent = words
  $('#self-text').hidden = !words
}

async function hangUp() {
  const c = call
  if (!c) return
  c.mine = true
  try {
    await socket.request('call:end', { roomId: c.roomId })
  } catch (err) {
    c.mine = false
    if (err.code === 'not_found' && call === c) return finish({ reason: 'lost' })
    toast(fault(err), true)
  }
}

// ── chat and contacts ─────────────────────────────────────────────────────

async function sendLine() {
  const field = $('#chat-text')
  const text = field.value.trim()
  if (!text || !call) return
  field.value = '' // for what is written meanwhile
  try {
    await socket.request('room:chat', { roomId: call.roomId, text })
  } catch (err) {
    field.value = `${text} ${field.value}`.trimEnd()
    toast(fault(err, { too_many: 'Five messages a second are enough. Please wait a moment.' }), true)
  }
  field.focus()
}

/** lineNode shows one line of a chat; socialLines one gift of contacts. */
export function lineNode(line, mine) {
  return el('li', { className: mine ? 'line mine' : 'line', textContent: line.text })
}
export function socialNodes(shared, peerName) {
  const whose = shared.from === me()?.userId ? 'You' : peerName
  return Object.entries(shared.socials ?? {}).map(([k, v]) => el('li', {}, `${whose}: ${network(k)} `, el('b', {}, v)))
}

function addLine(line) {
  const mine = line.from === me()?.userId
  call.lines.push(line)
  append(lineNode(line, mine))
}

function addSocials(shared) {
  call.socials.push(shared)
  const mine = shared.from === me()?.userId
  const list = Object.entries(shared.socials ?? {}).map(([k, v]) => `${network(k)}: ${v}`).join('\n')
  append(el('li', { className: mine ? 'line mine' : 'line' }, el('small', {}, mine ? 'You shared' : `${call.peer.name} shared`), list))
}

function addTold(words) {
  append(el('li', { className: 'line told', textContent: words }))
}

function append(node) {
  const follow = low
  log.append(node)
  while (log.children.length > 250) log.firstElementChild.remove()
  if (follow) log.scrollTop = log.scrollHeight
}

function showHistory(c, chat, socials) {
  log.replaceChildren()
  low = true
  c.lines = []
  c.socials = []
  const all = [...chat.map((x) => [time(x.at), () => addLine(x)]), ...socials.map((x) => [time(x.at), () => addSocials(x)])]
  for (const [, add] of all.sort((a, b) => a[0] - b[0])) add()
}

function openShare() {
  if (!call) return
  const mine = Object.entries(me()?.socials ?? {})
  $('#share-text').textContent = mine.length
    ? `${call.peer.name} gets what you tick, in the chat.`
    : `Write one way to reach you. ${call.peer.name} gets it in the chat, and it is kept in your profile.`
  $('#share-list').replaceChildren(...(mine.length
    ? mine.map(([k, v]) => el('label', {}, el('input', { type: 'checkbox', value: k, checked: true }), el('span', {}, el('b', {}, network(k)), v)))
    : [el('label', { className: 'field' }, el('span', {}, 'Where'), el('select', {}, ...Object.entries(networks).map(([k, v]) => el('option', { value: k }, v)))),
      el('label', { className: 'field' }, el('span', {}, 'Your name there'), el('input', { maxLength: 64, required: true }))]))
  $('#share-list').classList.toggle('checks', mine.length > 0)
  wrong($('#share-dialog'), '')
  open($('#share-dialog'))
}

async function share() {
  const box = $('#share-list')
  const socials = {}
  const select = $('select', box)
  if (select) {
    const handle = $('input', box).value.trim()
    if (handle) socials[select.value] = handle
  } else for (const i of box.querySelectorAll('input:checked')) socials[i.value] = me().socials[i.value]
  if (Object.keys(socials).length === 0) return wrong($('#share-dialog'), select ? 'Please write your name there.' : 'Nothing is ticked.')
  try {
    if (select) await save({ socials })
    await socket.request('room:giveSocial', { roomId: call.roomId, socials })
    shut($('#share-dialog'))
    say('Shared.')
  } catch (err) {
    wrong($('#share-dialog'), fault(err))
  }
}

// ── the end ───────────────────────────────────────────────────────────────

// stop takes the call off this page without a summary.
function stop() {
  const c = call
  call = null
  delete sessionStorage.call
  c.link?.close()
  closeDevices(c.stream)
  if (!c.stream) c.media.then(({ stream }) => closeDevices(stream))
  video.srcObject = $('#local').srcObject = null
  $('#unblock').hidden = true
  said = ''
  shut($('#share-dialog'))
  shut($('#report-dialog'))
  document.title = 'Evenings'
  return c
}

function finish({ durationSeconds, reason }) {
  const c = stop()
  const name = c.peer.name
  const talked = durationSeconds ?? Math.max(0, Math.round(c.whole - secondsTo(c.endsAt)))
  const why = {
    time: 'Your time was up.',
    ended: c.mine ? 'You ended the conversation.' : `${name} ended the conversation.`,
    disconnected: c.other === 'here' ? 'The connection was lost.' : `${name} lost the connection and did not come back.`,
    review: 'The conversation was closed.',
    restart: 'The server had to be restarted.',
  }[reason] ?? 'The connection was lost for too long.'
  ended = c
  $('#after-title').textContent = talked >= 1 ? `${length(talked)} with ${name}` : `That was short, ${name} and you`
  $('#after-text').textContent = why + (talked >= 5 ? ' It is in your history, and you can meet again tomorrow.' : '')
  face($('#after-face'), c.peer)
  const shared = c.socials.flatMap((s) => socialNodes(s, name))
  $('#after-socials').hidden = shared.length === 0
  $('#after-socials ul').replaceChildren(...shared)
  $('#after-chat').hidden = c.lines.length === 0
  $('#after-chat ol').replaceChildren(...c.lines.map((l) => lineNode(l, l.from === me()?.userId)))
  show('after')
  alarm(`The call is over. ${why}`)
}

/** leave drops the call without a word, because the session is over. */
export function drop() {
  if (call) stop()
  ended = null
  away(null)
}

