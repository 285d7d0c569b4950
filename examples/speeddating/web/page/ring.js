// Two soft notes while an invitation waits, and a buzz on a phone. Browsers
// allow sound only after a first click on the page, which everybody has made.

let audio = null
let timer = 0

export function ring() {
  hush()
  navigator.vibrate?.([120, 80, 120])
  chime()
  timer = setInterval(chime, 2600)
}

export function hush() {
  clearInterval(timer)
}

function chime() {
  try {
    audio ??= new AudioContext()
    if (audio.state === 'suspended') audio.resume().catch(() => {})
    for (const [at, pitch] of [[0, 587.33], [0.19, 783.99]]) {
      const tone = audio.createOscillator()
      const gain = audio.createGain()
      const t = audio.currentTime + at
      tone.frequency.value = pitch
      gain.gain.setValueAtTime(0, t)
      gain.gain.linearRampToValueAtTime(0.09, t + 0.02)
      gain.gain.exponentialRampToValueAtTime(0.0005, t + 0.9)
      tone.connect(gain).connect(audio.destination)
      tone.start(t)
      tone.stop(t + 1)
    }
  } catch { /* no sound is no reason to miss an invitation */ }
}
