// The picture: from the camera or from a file, cut square here so that little
// travels, and encoded anew by the server whatever we send.

import { $, busy, face, say, show, wrong } from './dom.js'
import { api } from './api.js'
import { closeDevices, snapshot } from './media.js'
import { me, set } from './me.js'
import { fault } from './words.js'

let stream = null
let blob = null
let after = () => {}

const image = $('#shot-image')
const video = $('#shot-video')

export function start() {
  $('#shot-camera').addEventListener('click', () => busy($('#shot-camera'), camera))
  $('#shot-take').addEventListener('click', () => busy($('#shot-take'), take))
  $('#shot-keep').addEventListener('click', () => busy($('#shot-keep'), keep))
  $('#shot-again').addEventListener('click', reset)
  $('#shot-file').addEventListener('click', () => $('#shot-input').click())
  $('#shot-input').addEventListener('change', () => { const [f] = $('#shot-input').files; $('#shot-input').value = ''; if (f) load(f) })
  $('#shot-skip').addEventListener('click', done)
}

/** choose opens the screen; then is called when it is left. */
export function choose(then) {
  after = then
  reset()
  show('picture')
}

/** stop gives the camera back when the screen is left in another way. */
export function stop() {
  closeDevices(stream)
  stream = null
}

function done() {
  stop()
  after()
}

function reset() {
  stop()
  blob = null
  video.hidden = image.hidden = true
  face($('#shot-face'), me())
  $('#shot-face').hidden = false
  buttons(['camera', 'file', 'skip'])
  wrong($('[data-screen=picture]'), '')
}

function buttons(shown) {
  for (const b of ['camera', 'take', 'keep', 'file', 'again', 'skip']) $(`#shot-${b}`).hidden = !shown.includes(b)
}

async function camera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 720 }, height: { ideal: 720 }, facingMode: 'user' } })
  } catch (err) {
    return wrong($('[data-screen=picture]'), err.name === 'NotAllowedError'
      ? 'The camera is blocked for this page. You can choose a file.' : 'No camera was found. You can choose a file.')
  }
  wrong($('[data-screen=picture]'), '')
  video.srcObject = stream
  await video.play().catch(() => {})
  video.hidden = false
  $('#shot-face').hidden = true
  buttons(['take', 'skip'])
  $('#shot-take').focus()
  say('The camera is on.')
}

async function take() {
  await hold(snapshot(video, true))
}

async function load(file) {
  stop()
  video.hidden = true
  const url = URL.createObjectURL(file)
  try {
    const picture = new Image()
    picture.src = url
    await picture.decode()
    await hold(snapshot(picture, false))
  } catch {
    reset()
    wrong($('[data-screen=picture]'), 'This file is not a picture that the browser can read.')
  } finally {
    URL.revokeObjectURL(url)
  }
}

async function hold(making) {
  blob = await making
  stop()
  URL.revokeObjectURL(image.src)
  image.src = URL.createObjectURL(blob)
  image.hidden = false
  video.hidden = true
  $('#shot-face').hidden = true
  buttons(['keep', 'again', 'skip'])
  $('#shot-keep').focus()
  wrong($('[data-screen=picture]'), '')
  say('Here is your picture. Use it, or make another one.')
}

async function keep() {
  try {
    const { selfieUrl } = await api.saveSelfie(blob)
    set({ ...me(), selfieUrl })
    done()
  } catch (err) {
    wrong($('[data-screen=picture]'), fault(err))
  }
}
