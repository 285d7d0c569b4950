// The conversations so far, newest first, each with its chat.

import { $, busy, el, face, toast } from './dom.js'
import { api } from './api.js'
import { lineNode, socialNodes } from './call.js'
import { me, watch } from './me.js'
import { report } from './report.js'
import { day, fault, length, plural, time, total } from './words.js'

let cursor = ''

export function start() {
  $('#talks-more').addEventListener('click', () => busy($('#talks-more'), more))
  watch(({ metrics }) => {
    const words = metrics?.calls ? `${plural(metrics.calls, 'conversation')}, ${total(metrics.talkSeconds)} in all.` : ''
    $('#history-sum').textContent = words
  })
}

/** refresh reads the newest page. */
export async function refresh() {
  cursor = ''
  try {
    const page = await api.history()
    $('#talks').replaceChildren()
    add(page)
  } catch (err) {
    toast(fault(err), true)
  }
}

async function more() {
  try {
    const first = $('#talks').children.length
    add(await api.history(cursor))
    $('#talks').children[first]?.querySelector('summary, button')?.focus()
  } catch (err) {
    toast(fault(err), true)
  }
}

function add(page) {
  const talks = page.calls ?? []
  cursor = page.cursor ?? ''
  $('#talks').append(...talks.map(item))
  $('#talks-pager').hidden = !cursor
  $('#talks-empty').hidden = $('#talks').children.length > 0
}

function item(t) {
  const portrait = el('span', { className: 'face' })
  portrait.setAttribute('aria-hidden', 'true')
  face(portrait, { userId: t.withUserId, name: t.withName, selfieUrl: t.withSelfieUrl })
  const tell = el('button', { type: 'button', className: 'quiet', textContent: 'Report' })
  tell.setAttribute('aria-label', `Report ${t.withName}`)
  tell.addEventListener('click', () => report([{ userId: t.withUserId, name: t.withName }]))
  const chat = t.chat ?? []
  const socials = (t.socials ?? []).flatMap((s) => socialNodes(s, t.withName))
  return el('li', { className: 'talk' },
    el('div', { className: 'talk-head' }, portrait,
      el('div', {}, el('h2', {}, t.withName), el('p', {}, `${length(t.durationSeconds)}, ${day(time(t.startedAt))}`)), tell),
    chat.length + socials.length > 0 && el('details', { className: 'more' },
      el('summary', {}, [chat.length && plural(chat.length, 'message'), socials.length && plural(socials.length, 'contact')].filter(Boolean).join(' and ')),
      socials.length > 0 && el('ul', { className: 'socials' }, ...socials),
      chat.length > 0 && el('ol', { className: 'log' }, ...chat.map((l) => lineNode(l, l.from === me()?.userId)))))
}
