// Small helpers for the document. Whatever comes from people goes through
// textContent; nothing here, or anywhere else, writes HTML.

export const $ = (selector, root = document) => root.querySelector(selector)
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)]

/** el makes an element: el('p', {className: 'soft'}, 'text', node…). */
export function el(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props)
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== false))
  return node
}

/** say tells the state in words to those who do not see it; alarm interrupts. */
export const say = (text) => speak($('#live'), text)
export const alarm = (text) => speak($('#alert'), text)

function speak(region, text) {
  // What is outside of an open dialog is inert, live regions too.
  const home = $('dialog[open]') ?? document.body
  if (region.parentElement !== home) home.append(region)
  region.textContent = ''
  setTimeout(() => { region.textContent = text }, 60) // emptied first: the same words twice are said twice
}

let toastTimer
/** toast shows a short word at the bottom and says it. */
export function toast(text, urgent = false) {
  const box = $('#toast')
  box.textContent = text
  box.hidden = false
  ;(urgent ? alarm : say)(text)
  clearTimeout(toastTimer)
  toastTimer = setTimeout(() => { box.hidden = true }, 3500 + 50 * text.length)
}

/** wrong shows what went wrong inside a form or dialog; '' takes it away. */
export function wrong(root, text) {
  const p = $('.wrong', root)
  p.textContent = text
  p.hidden = !text
}

/** face paints a person into an element of class face: picture or initials. */
export function face(node, person) {
  const name = person?.name ?? ''
  const letters = name.trim().split(/\s+/).slice(0, 2).map((w) => [...w][0] ?? '').join('').toUpperCase()
  node.replaceChildren(letters || '·')
  let sum = 0
  for (const c of (person?.userId ?? '') + name) sum = (sum * 31 + c.codePointAt(0)) % 9973
  node.style.setProperty('--tone', [8, 338, 292, 258, 214, 176, 32, 140][sum % 8])
  if (!person?.selfieUrl) return
  const img = el('img', { alt: '', loading: 'lazy', decoding: 'async', draggable: false })
  img.addEventListener('error', () => img.remove())
  img.src = person.selfieUrl
  node.append(img)
}

/** busy disables a button while work runs and gives back what work gives. */
export async function busy(button, work) {
  if (button.disabled) return undefined
  button.disabled = true
  try {
    return await work()
  } finally {
    button.disabled = false
  }
}

/** show opens one screen and moves the focus to its heading. */
export function show(name) {
  let opened
  for (const s of $$('[data-screen]')) {
    const on = s.dataset.screen === name
    if (on && s.hidden) opened = s
    s.hidden = !on
  }
  if (!opened) return
  scrollTo(0, 0)
  $('h1', opened)?.focus({ preventScroll: true })
}

/** screen names the one that is open. */
export const screen = () => $$('[data-screen]').find((s) => !s.hidden)?.dataset.screen

/** open and shut are for dialogs; Escape does what the dialog says it does. */
export function open(dialog) {
  if (!dialog.open) dialog.showModal()
}
export function shut(dialog) {
  if (dialog.open) dialog.close()
}
