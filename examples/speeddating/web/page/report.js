// Reporting somebody one has talked with.

import { $, busy, el, open, shut, toast, wrong } from './dom.js'
import { api } from './api.js'
import { fault } from './words.js'

const dialog = $('#report-dialog')

export function start() {
  $('#report-close').addEventListener('click', () => shut(dialog))
  $('#report-form').addEventListener('submit', (e) => { e.preventDefault(); busy($('.primary', dialog), send) })
  $('#report-open').addEventListener('click', () => busy($('#report-open'), choose))
}

/** report asks what happened with one of these people: [{userId, name}]. */
export function report(people) {
  $('#report-select').replaceChildren(...people.map((p) => el('option', { value: p.userId }, p.name)))
  $('#report-whom').hidden = people.length < 2
  $('#report-title').textContent = people.length === 1 ? `Report ${people[0].name}` : 'Report somebody'
  $('#report-reason').value = ''
  wrong(dialog, '')
  open(dialog)
}

async function choose() {
  const seen = new Map()
  try {
    const page = await api.history()
    for (const t of page.calls ?? []) if (!seen.has(t.withUserId)) seen.set(t.withUserId, { userId: t.withUserId, name: t.withName })
  } catch (err) {
    return toast(fault(err), true)
  }
  if (seen.size === 0) return toast('You have not talked with anybody yet.')
  report([...seen.values()])
}

async function send() {
  const reason = $('#report-reason').value.trim()
  if (!reason) return wrong(dialog, 'Please write in a few words what happened.')
  try {
    await api.report($('#report-select').value, reason)
    shut(dialog)
    toast('Thank you. The report has been sent.')
  } catch (err) {
    wrong(dialog, fault(err, { conflict: 'You have reported this person already.', forbidden: 'You can report people you have talked with.' }))
  }
}
