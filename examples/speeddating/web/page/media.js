// Camera and microphone.

const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 24, max: 30 }, facingMode: 'user' }
const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true }

/**
 * openDevices asks for camera and microphone and takes what it gets.
 * @returns {Promise<{stream: MediaStream, problem: string}>} problem says in words what is missing
 */
export async function openDevices() {
  const get = navigator.mediaDevices?.getUserMedia?.bind(navigator.mediaDevices)
  if (!get) return { stream: new MediaStream(), problem: 'This browser gives no camera here; a call needs https or localhost.' }
  try {
    return { stream: await get({ audio, video }), problem: '' }
  } catch (err) {
    const blocked = err.name === 'NotAllowedError'
    for (const [want, missing] of [[{ audio }, 'camera'], [{ video }, 'microphone']]) {
      try {
        return { stream: await get(want), problem: `Your ${missing} ${blocked ? 'is blocked' : 'was not found'}: the other side will not ${missing === 'camera' ? 'see' : 'hear'} you.` }
      } catch { /* the next one */ }
    }
    return {
      stream: new MediaStream(),
      problem: blocked
        ? 'Camera and microphone are blocked for this page. You can see, hear and write; allow them in the browser to be seen.'
        : 'No camera or microphone was found, or another program holds them. You can see, hear and write.',
    }
  }
}

/** openCamera gives one video track. */
export async function openCamera() {
  const s = await navigator.mediaDevices.getUserMedia({ video })
  return s.getVideoTracks()[0]
}

export function closeDevices(stream) {
  for (const t of stream?.getTracks() ?? []) t.stop()
}

/** snapshot draws the middle square of a picture or video as a JPEG. */
export function snapshot(source, mirrored) {
  const w = source.videoWidth || source.naturalWidth
  const h = source.videoHeight || source.naturalHeight
  const side = Math.min(w, h)
  const size = Math.min(side, 720)
  const canvas = Object.assign(document.createElement('canvas'), { width: size, height: size })
  const g = canvas.getContext('2d')
  if (mirrored) g.setTransform(-1, 0, 0, 1, size, 0)
  g.drawImage(source, (w - side) / 2, (h - side) / 2, side, side, 0, 0, size, size)
  return new Promise((done, failed) => canvas.toBlob((b) => (b ? done(b) : failed(new Error('The picture could not be read.'))), 'image/jpeg', 0.88))
}
