// The page behind /admin/live. The server tells everything it keeps once, and
// then what is new every second; this file puts it where it belongs.

import { Plimsoll } from '/assets/plimsoll.js'
import { Curve, Stack, bytes, clock, count } from '/admin/chart.js'

const $ = (selector) => document.querySelector(selector)
const el = (tag, props = {}, ...children) => {
  const n = Object.assign(document.createElement(tag), props)
  n.append(...children)
  return n
}

let past // what live:history said, kept up to date
let socket
let span = 'recent'
let fit = false

const percent = (share) => (100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0) + ' %'
const stack = new Stack($('#past'), (p) => past.accounts.map((name, i) => `${name.padEnd(12)} ${bytes(p.used[i]).padStart(9)}`)
  .concat(`level ${past.levels[p.level]}, pressure ${percent(p.pressure)}`))
const curves = {
  sockets: new Curve($('#c-sockets'), (p) => p.sockets, count),
  free: new Curve($('#c-free'), (p) => p.free, count),
  calls: new Curve($('#c-calls'), (p) => p.calls, count),
  refused: new Curve($('#c-refused'), (p) => p.refused, count),
  asked: new Curve($('#c-asked'), (p) => p.asked, (n) => count(n)),
}

function take(message) {
  if (message.type === 'live:history') {
    past = message.data
    draw(past.recent.at(-1), past.figures)
    happened()
  } else if (message.type === 'live:now' && past) {
    const { point, events, figures } = message.data
    if (point.at > (past.recent.at(-1)?.at ?? 0)) {
      past.recent = [...past.recent, point].slice(-120)
      hourly(point)
    }
    if (events) {
      past.events = events
      happened()
    }
    draw(point, figures)
  }
}

// hourly keeps the steps of ten seconds as the server does.
function hourly(point) {
  const last = past.hour.at(-1)
  if (!last || point.at - last.at >= 10000) {
    past.hour = [...past.hour, structuredClone(point)].slice(-360)
    return
  }
  for (const k of ['level', 'pressure', 'occupied', 'online', 'free', 'calls', 'sockets']) last[k] = Math.max(last[k], point[k])
  for (const k of ['refused', 'sent', 'asked']) last[k] += point[k]
  last.used = last.used.map((v, i) => Math.max(v, point.used[i] ?? 0))
}

function draw(point, figures) {
  if (!point) return
  header(point, figures)
  line(point, figures.memory)
  const points = past[span]
  stack.show(points, { names: past.accounts, budget: past.budget, begins: past.begins, levels: past.levels, fit })
  for (const c of Object.values(curves)) c.show(points)
  accounts(figures.memory)
  crowd(point, figures)
  caches(figures.platform)
  saved(figures)
  sweeps(figures.memory.sweeps)
  store(figures)
}

function header(point, figures) {
  const m = figures.memory
  const level = $('#level')
  const words = `${m.level}${m.stuck ? ', stuck' : ''}`
  if (level.textContent !== words) level.textContent = words
  level.dataset.level = point.level
  $('#node').textContent = `node ${figures.platform.node} · pressure ${percent(m.pressure)} (${m.source}) · ${figures.ready ? 'takes new people' : 'takes nobody'}` +
    (m.refusing > 0 ? ` · refuses ${percent(m.refusing)} of new work` : '')
}

// line is the whole limit as one bar: what the accounts hold, what the process
// holds beside it, and where the levels begin.
function line(point, m) {
  const box = $('#line')
  const reserved = point.used.reduce((a, b) => a + b, 0)
  const parts = point.used.map((used, i) => ({ used, color: `var(--a${i % 9})`, name: past.accounts[i] }))
  parts.push({ used: Math.max(point.occupied - reserved, 0), rest: true, name: 'runtime, garbage and what nobody reserved' })
  while (box.childElementCount < parts.length + past.begins.length - 1) box.append(el(box.childElementCount < parts.length ? 'i' : 'u'))
  parts.forEach((p, i) => {
    const bar = box.children[i]
    bar.style.width = `${100 * p.used / past.limit}%`
    bar.style.background = p.color ?? ''
    bar.className = p.rest ? 'rest' : ''
    bar.title = `${p.name}: ${bytes(p.used)}`
  })
  past.begins.slice(1).forEach((b, i) => {
    const mark = box.children[parts.length + i]
    mark.style.left = `${100 * b}%`
    mark.dataset.level = i + 1
    mark.title = `${past.levels[i + 1]} begins here`
  })
  const words = `${bytes(point.occupied)} of ${bytes(past.limit)}`
  $('#line-words').textContent = words
  box.setAttribute('aria-label', `the process holds ${words}, of which the accounts reserved ${bytes(reserved)}`)
  $('#line-note').textContent = `Reserved ${bytes(reserved)} of a budget of ${bytes(past.budget)}; live heap ${bytes(m.sample.live)}; resident ${bytes(m.sample.rss)}; sockets in the kernel ${bytes(m.sample.sockets)}.`
}

function rows(table, cells) {
  const body = $(`${table} tbody`)
  while (body.childElementCount > cells.length) body.lastElementChild.remove()
  cells.forEach((row, r) => {
    let tr = body.children[r]
    if (!tr || tr.childElementCount !== row.length) {
      const fresh = el('tr', {}, ...row.map(() => el('td')))
      tr ? tr.replaceWith(fresh) : body.append(fresh)
      tr = fresh
    }
    row.forEach((cell, c) => {
      const td = tr.children[c]
      if (cell instanceof Node) return td.replaceChildren(cell)
      if (td.textContent !== String(cell)) td.textContent = cell
      td.className = c ? 'n' : ''
    })
  })
}

function key(color, name) {
  const k = el('i', { className: 'key' })
  k.style.background = color
  return el('span', {}, k, name)
}

function meter(share, color) {
  const fill = el('i')
  fill.style.width = `${Math.min(100 * share, 100)}%`
  fill.style.background = color
  return el('span', { className: 'meter', title: percent(share) }, fill)
}

const refusals = (a) => a.refusedBudget + a.refusedMax + a.refusedPressure + a.refusedInvalid

function accounts(m) {
  rows('#accounts', m.accounts.map((a, i) => [key(`var(--a${i % 9})`, a.name), bytes(a.used),
    meter(a.max ? a.used / a.max : 0, `var(--a${i % 9})`), bytes(a.peak), count(refusals(a))]))
}

const total = (reasons) => Object.values(reasons ?? {}).reduce((a, b) => a + (typeof b === 'number' ? b : 0), 0)
const most = (reasons) => Object.entries(reasons ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([k, n]) => `${k} ${count(n)}`).join(', ')

function crowd(point, f) {
  const c = f.connections
  $('#v-sockets').textContent = count(point.sockets)
  $('#n-sockets').textContent = `${count(f.sockets.parked)} parked; ${count(c.evicted)} evicted; ${bytes(point.sent)}/s out`
  $('#v-free').textContent = count(point.free)
  $('#n-free').textContent = `of ${count(point.online)} here; ${count(f.presence.watchers)} look on; ${count(f.presence.saved)} came back in their grace`
  $('#v-calls').textContent = count(point.calls)
  $('#n-calls').textContent = `${count(f.platform.called)} since the start; ${count(f.platform.invites)} invitations open`
  $('#v-refused').textContent = count(total(c.refused) + total(c.acceptRefused) + f.memory.refused + f.memory.accounts.reduce((a, b) => a + refusals(b), 0))
  $('#n-refused').textContent = most(c.refused) || most(c.acceptRefused) || 'no connection since the start'
}

function caches(p) {
  rows('#caches', ['users', 'sessions', 'relations', 'media'].map((name) => {
    const c = p[name]
    const asked = c.hits + c.misses
    return [name, meter(c.hitRate, 'var(--a1)'), asked ? percent(c.hitRate) : '–', `${count(c.entries)} of ${count(c.max)}`]
  }))
}

function saved(f) {
  const layers = Object.entries(f.compress.codings ?? {}).map(([name, c]) => [name, c.before, c.after])
  for (const [name, s] of Object.entries(f.savings ?? {})) if (s && s.before) layers.push([name, s.before, s.after])
  rows('#saved', layers.length ? layers.map(([name, before, after]) => [name, `${bytes(before)} → ${bytes(after)}`, `${percent(1 - after / before)} less`])
    : [['nothing encoded yet']])
}

const ago = (when) => {
  if (!when) return 'not yet'
  const s = (Date.now() - Date.parse(when)) / 1000
  return s < 90 ? `${Math.max(Math.round(s), 0)} s ago` : `${Math.round(s / 60)} min ago`
}

function sweeps(list) {
  rows('#sweeps', list.map((s) => [s.name + (s.lastError ? ` (${s.lastError})` : ''), count(s.runs), count(s.total.archived), count(s.total.deleted), s.running ? 'now' : ago(s.last)]))
}

function store(f) {
  const s = f.platform.store
  const b = f.platform.bus
  const words = (o) => Object.entries(o).filter(([, v]) => typeof v !== 'object').map(([k, v]) => [k.replace(/[A-Z]/g, (c) => ' ' + c.toLowerCase()), typeof v === 'number' ? count(v) : String(v)])
  rows('#store', [...words(s).map(([k, v]) => ['database: ' + k, v]), ...words(b).map(([k, v]) => ['bus: ' + k, v])])
}

function happened() {
  if (!past.events.length) return
  $('#events').replaceChildren(...past.events.toReversed().map((e) => el('li', {}, el('time', { textContent: clock(e.at) }), words(e))))
}

function words(e) {
  switch (e.kind) {
    case 'level': {
      const b = el('b', { textContent: e.name })
      b.dataset.level = past.levels.indexOf(e.name)
      return el('span', {}, 'The level is ', b, e.count > 1 ? ` after ${count(e.count)} changes within a second` : '', e.why ? `, for ${e.why}.` : '.')
    }
    case 'reclaim': return el('span', {}, `${e.name} gave back ${bytes(e.bytes ?? 0)}${e.why ? `; ${e.why}` : ''}.`)
    case 'refused': return el('span', {}, `Refused: ${e.name}, ${count(e.count)} ${e.count === 1 ? 'time' : 'times'}.`)
    case 'sweep': return el('span', {}, `The sweep of ${e.name} moved or deleted ${count(e.count ?? 0)}${e.why ? `; ${e.why}` : ''}.`)
    case 'stuck': return el('span', {}, `Critical, and nothing that is registered lowers it: ${e.why}.`)
  }
  return el('span', {}, e.kind)
}

function choose(name, apply) {
  for (const b of document.querySelectorAll(`[data-${name}]`)) {
    b.addEventListener('click', () => {
      for (const o of document.querySelectorAll(`[data-${name}]`)) o.setAttribute('aria-pressed', o === b)
      apply(b.dataset[name])
      if (past) stack.show(past[span], { names: past.accounts, budget: past.budget, begins: past.begins, levels: past.levels, fit })
      if (past) for (const c of Object.values(curves)) c.show(past[span])
    })
  }
}
choose('span', (v) => { span = v })
choose('scale', (v) => { fit = v === 'fit' })

async function begin() {
  const answer = await fetch('/admin/session').catch(() => undefined)
  const allowed = answer?.ok
  $('#enter').hidden = allowed
  $('#board').hidden = !allowed
  if (!allowed) return $('#enter input').focus()
  socket ??= new Plimsoll({
    path: '/admin/ws', onMessage: take,
    onState: (s) => {
      $('#link').textContent = s.state === 'open' ? 'live' : s.state === 'reconnecting' ? 'the server does not answer; trying again' : s.state
      if (s.state === 'reconnecting' && s.attempt > 1) fetch('/admin/session').then((r) => { if (r.status === 401) location.reload() }, () => {})
    },
  })
}

$('#enter').addEventListener('submit', async (e) => {
  e.preventDefault()
  const wrong = $('#enter .wrong')
  const answer = await fetch('/admin/session', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token: $('#enter input').value }),
  }).catch(() => undefined)
  wrong.hidden = Boolean(answer?.ok)
  $('#enter input').value = ''
  if (answer?.ok) return begin()
  $('#enter input').focus()
  wrong.textContent = answer ? (await answer.json().catch(() => undefined))?.error?.message ?? 'That did not work.' : 'The server does not answer.'
})

begin()
