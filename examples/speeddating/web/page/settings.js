// Settings: the profile, the contacts, the account, introductions.

import { $, busy, el, face, toast, wrong } from './dom.js'
import { api } from './api.js'
import { load, me, save, watch } from './me.js'
import { choose } from './picture.js'
import { day, fault, networks, plural, time, total } from './words.js'

export function start({ loggedOut, toLogin, toSettings }) {
  const profile = $('#profile')
  const socials = $('#socials')
  const account = $('#account')

  $('#social-fields').append(...Object.entries(networks).map(([key, label]) =>
    el('label', { className: 'field' }, el('span', {}, label), el('input', { name: key, maxLength: 64, autocomplete: 'off', spellcheck: false, autocapitalize: 'none' }))))

  submit(profile, async () => {
    const name = profile.elements.name.value.trim()
    if (!name) throw new Error('A name is needed: one character at least.')
    await save({ name, gender: profile.elements.gender.value })
    toast('Saved.')
  })
  submit(socials, async () => {
    const given = {}
    for (const [key, value] of Object.entries(me().socials ?? {})) if (!(key in networks)) given[key] = value
    for (const key of Object.keys(networks)) {
      const value = socials.elements[key].value.trim()
      if (value) given[key] = value
    }
    await save({ socials: given })
    toast('Saved.')
  })
  submit(account, async () => {
    const { email, password } = account.elements
    if (!email.value.includes('@')) throw new Error('That is not an e-mail address.')
    if ([...password.value].length < 8) throw new Error('The password needs eight characters or more.')
    await api.link(email.value.trim(), password.value)
    password.value = ''
    await load()
    toast('You have an account now.')
  }, { conflict: 'This e-mail has an account already.' })

  $('#profile-picture').addEventListener('click', () => choose(toSettings))
  $('#account-login').addEventListener('click', toLogin)
  $('#logout').addEventListener('click', () => busy($('#logout'), async () => {
    if (!me().email && !confirm('You are a guest: after logging out nobody can come back to this place. Log out?')) return
    try {
      await api.logout()
    } catch (err) {
      if (err.status !== 401) return toast(fault(err), true)
    }
    loggedOut()
  }))

  $('#intro-make').addEventListener('click', () => busy($('#intro-make'), async () => {
    try {
      const { code } = await api.makeIntro()
      $('#intro-link').value = `${location.origin}/?intro=${encodeURIComponent(code)}`
      $('#intro-field').hidden = $('#intro-row').hidden = false
      $('#intro-link').select()
    } catch (err) {
      toast(fault(err), true)
    }
  }))
  $('#intro-copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText($('#intro-link').value)
      toast('Copied.')
    } catch {
      $('#intro-link').select()
    }
  })

  watch((p) => {
    face($('#profile-face'), p)
    if (!profile.contains(document.activeElement)) { // nobody's typing is overwritten
      profile.elements.name.value = p.name
      profile.elements.gender.value = p.gender
    }
    if (!socials.contains(document.activeElement)) {
      for (const key of Object.keys(networks)) socials.elements[key].value = p.socials?.[key] ?? ''
    }
    $('#account-fields').hidden = Boolean(p.email)
    $('#account h2').textContent = p.email ? 'Your account' : 'Keep your place'
    $('#account-text').textContent = p.email
      ? `You log in with ${p.email}.`
      : 'You are a guest. With an e-mail and a password you can come back from any device.'
    const talked = p.metrics?.calls ? `${plural(p.metrics.calls, 'conversation')}, ${total(p.metrics.talkSeconds)} in all.` : 'No conversations yet.'
    $('#settings-sum').textContent = p.createdAt ? `Here since ${day(time(p.createdAt))}. ${talked}` : talked
  })
}

/** submit runs work when a form is sent and shows what went wrong in it. */
export function submit(form, work, own) {
  form.addEventListener('submit', (e) => {
    e.preventDefault()
    wrong(form, '')
    busy($('button[type=submit]', form), work).catch((err) => wrong(form, fault(err, own)))
  })
}
