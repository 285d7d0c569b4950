// The people who are free: one window of at most 50 cards, kept true by
// queue:delta, cheaply and without moving the focus. A server that was told not
// to send deltas sends queue:snapshot and queue:update.

import { $, el, face, say } from './dom.js'
import { brief, genders, plural, secondsTo, time, until } from './words.js'
import { socket } from './socket.js'
import { Delta } from '/assets/delta.js'

const cards = new Map() // userId → {card, node}, in the order of the window
let total = 0
let next = '' // cursor of the window after this one
let back = [] // cursors of the windows before
let here = '' // cursor of this one
let invite = () => {}
let saidAt = 0
let asked = '' // the cursor of a window that was asked for
let seen = new Delta() // the window as queue:delta has it

/** free is what the person wants; the server is told whenever a socket opens. */
export let free = true

export function start(onInvite) {
  invite = onInvite
  socket.on('queue:snapshot', snapshot)
  socket.on('queue:update', update)
  socket.on('queue:delta', follow)
  socket.on('queue:marks', marked)
  $('#free-toggle').addEventListener('click', () => setFree(!free))
  $('#pager-next').addEventListener('click', () => move(next, [...back, here]))
  $('#pager-back').addEventListener('click', () => move(back.at(-1) ?? '', back.slice(0, -1)))
  setInterval(refreshCooldowns, 20000)
}

/**
 * spread gives over how many ms those who only wait come back when a server dies:
 * the more they are, the longer, so that those in calls are not held up. Within
 * the grace of 5 s nobody misses them.
 */
export const spread = () => Math.min(4000, total / 2)

/** join makes the person free, if that is what they want. */
export async function join() {
  if (!free) return paint()
  here = asked = ''
  back = []
  try {
    await socket.request('queue:join', { delta: true })
  } catch (err) {
    if (err.code !== 'busy' && err.code !== 'offline_self') throw err
  }
}

/** leave takes the person out while they read a summary; the wish stays. */
export function leave() {
  socket.request('queue:leave').catch(() => {})
}

async function setFree(on) {
  free = on
  say(on ? 'You are free. Others can see and invite you.' : 'You are taking a break. Nobody sees you.')
  if (!on) {
    leave()
    clear()
  }
  paint()
  if (on) await join()
}

async function move(cursor, behind) {
  asked = cursor
  const before = [here, back]
  ;[here, back] = [cursor, behind]
  try {
    await socket.request('queue:more', { cursor })
    $('#people-list').scrollIntoView({ block: 'start' })
  } catch {
    ;[here, back] = before
  }
}

/** clear forgets the window: the socket that kept it true is gone. */
export function clear() {
  cards.clear()
  total = 0
  next = ''
  $('#people-list').replaceChildren()
}

function snapshot(data) {
  next = data.cursor ?? ''
  total = data.total
  const keep = new Map(cards)
  cards.clear()
  const nodes = data.cards.map((card) => put(card, keep.get(card.userId)?.node))
  if (!sameNodes(nodes)) $('#people-list').replaceChildren(...nodes)
  paint()
}

const sameNodes = (nodes) => {
  const now = $('#people-list').children
  return now.length === nodes.length && nodes.every((n, i) => n === now[i])
}

// follow applies a frame. The window as the delta has it holds a new object for
// each row that changed, and the same one for the others.
function follow(frame) {
  const old = seen.value ?? []
  if (frame[0] === 'S') seen = new Delta()
  if (!seen.apply(frame)) return join() // cannot be, on a socket that loses nothing
  const [total, cursor] = seen.extra
  if (frame[0] === 'S') return snapshot({ cards: seen.value, total, cursor })
  const ids = new Set(seen.value.map((row) => row.userId))
  const had = new Set(old)
  update({
    added: seen.value.filter((row) => !had.has(row)),
    removed: old.filter((row) => !ids.has(row.userId)).map((row) => row.userId),
    total,
    cursor,
  })
}

// marked takes what is on cards for this person alone: the time until which
// the two may not meet again, and who introduced them.
function marked({ marks }) {
  for (const { userId, cooldownUntil, introducedBy } of marks) {
    const one = cards.get(userId)
    if (one) put({ ...one.card, cooldownUntil, introducedBy }, one.node)
  }
}

function update({ added = [], removed = [], total: all, cursor }) {
  total = all
  next = cursor ?? ''
  const list = $('#people-list')
  for (const id of removed) {
    const gone = cards.get(id)
    if (!gone) continue
    cards.delete(id)
    if (gone.node.contains(document.activeElement)) {
      const near = gone.node.nextElementSibling ?? gone.node.previousElementSibling
      ;($('button', near ?? document) ?? $('#free-toggle')).focus({ preventScroll: true })
    }
    gone.node.remove()
  }
  for (const card of added) {
    const old = cards.get(card.userId)
    const node = put(card, old?.node)
    if (!old) list.append(node)
  }
  paint()
  if (Date.now() - saidAt > 10000 && $('[data-screen=people]').hidden === false && !document.querySelector('dialog[open]')) {
    saidAt = Date.now()
    say(countWords())
  }
}

// put fills a card's node, an old one if there is one, and remembers it.
function put(card, node) {
  const old = cards.get(card.userId)
  if (!node) {
    const button = el('button', { type: 'button' })
    node = el('li', { className: 'person' },
      el('span', { className: 'face' }),
      el('div', { className: 'about' }, el('h2'), el('p', { className: 'what' }), el('p', { className: 'by' }), el('span', { className: 'gap' }), button))
    button.addEventListener('click', () => invite(cards.get(node.dataset.id).card))
    $('.face', node).setAttribute('aria-hidden', 'true')
    node.dataset.id = card.userId
  }
  if (!old || old.card.name !== card.name || old.card.selfieUrl !== card.selfieUrl || !$('.face', node).hasChildNodes()) face($('.face', node), card)
  $('h2', node).textContent = card.name
  $('.what', node).textContent = genders[card.gender] ?? ''
  $('.what', node).hidden = !genders[card.gender]
  $('.by', node).textContent = card.introducedBy ? `Introduced by ${card.introducedBy}` : ''
  $('.by', node).hidden = !card.introducedBy
  cards.set(card.userId, { card, node })
  mark(card, node)
  return node
}

function mark(card, node) {
  const met = card.cooldownUntil && secondsTo(time(card.cooldownUntil)) > 0
  const button = $('button', node)
  node.classList.toggle('met', Boolean(met))
  button.disabled = Boolean(met)
  button.textContent = met ? `Again in ${brief(time(card.cooldownUntil))}` : 'Invite'
  button.setAttribute('aria-label', met ? `You have met ${card.name}. Again ${until(time(card.cooldownUntil))}` : `Invite ${card.name}`)
}

function refreshCooldowns() {
  for (const { card, node } of cards.values()) if (card.cooldownUntil) mark(card, node)
}

const countWords = () => (total === 0 ? 'Nobody else is free right now.' : `${plural(total, 'person', 'people')} free right now.`)

function paint() {
  $('#free-title').textContent = free ? 'You are free' : 'You are taking a break'
  $('#free-text').textContent = free ? 'Others can see and invite you.' : 'Nobody sees you, and you see nobody.'
  $('#free-toggle').textContent = free ? 'Take a break' : 'Be free again'
  $('#people-count').textContent = free ? countWords() : 'Come back whenever you like.'
  $('#people-empty').hidden = cards.size > 0
  $('#people-empty-title').textContent = free ? 'It is quiet right now' : 'Take your time'
  $('#people-empty-text').textContent = free
    ? 'You are here, and whoever comes in will see you. This list changes by itself.'
    : 'As soon as you are free again you see who else is, and they see you.'
  const from = back.length * 50 + 1
  $('#pager').hidden = !free || (!next && back.length === 0)
  $('#pager-text').textContent = cards.size ? `${from} to ${from + cards.size - 1} of ${total}` : ''
  $('#pager-back').disabled = back.length === 0
  $('#pager-next').disabled = !next
}
