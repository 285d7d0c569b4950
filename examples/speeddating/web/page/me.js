// Who is looking: the profile as GET /user/me gave it.

import { api } from './api.js'

let profile = null
const watchers = []

export const me = () => profile

/** watch calls fn now and whenever the profile changes. */
export function watch(fn) {
  watchers.push(fn)
  if (profile) fn(profile)
}

export function set(p) {
  profile = p
  if (p) for (const fn of watchers) fn(p)
}

export async function load() {
  set(await api.me())
  return profile
}

/** save changes some of it; the server's answer is what counts. */
export async function save(change) {
  const answer = await api.saveMe(change)
  set({ ...profile, ...answer })
}
