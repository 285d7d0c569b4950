// One WebRTC connection to the other side of a call: perfect negotiation
// (https://www.w3.org/TR/webrtc/#perfect-negotiation-example) with the roles
// that the server gave. The initiator makes the first offer and is impolite:
// on a collision it ignores the other's offer. The other side is polite and
// rolls its own back. A Link is used once; a call that starts anew gets a
// fresh one.

export class Link {
  #pc
  #initiator
  #stream
  #send
  #makingOffer = false
  #ignoreOffer = false
  #isSettingRemoteAnswerPending = false
  #offered = false // the initiator has spoken: from here on both may negotiate
  #timer = 0
  #closed = false

  /**
   * @param {object} o
   * @param {boolean} o.initiator from call:start
   * @param {RTCIceServer[]} o.iceServers
   * @param {MediaStream} o.stream our tracks; may have none
   * @param {(type: string, data: object) => void} o.send
   * @param {(stream: MediaStream) => void} o.onRemote
   * @param {(state: 'connecting'|'connected'|'interrupted'|'lost') => void} o.onState
   */
  constructor({ initiator, iceServers, stream, send, onRemote, onState }) {
    this.#initiator = initiator
    this.#stream = stream
    this.#send = send
    const pc = this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' })
    const remote = new MediaStream()

    pc.ontrack = ({ track }) => {
      for (const old of remote.getTracks()) if (old.kind === track.kind) remote.removeTrack(old)
      remote.addTrack(track)
      onRemote(remote)
    }
    pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) this.#send('rtc:ice', { candidate: candidate.toJSON() })
    }
    pc.onnegotiationneeded = () => this.#offer()
    pc.onconnectionstatechange = () => {
      clearTimeout(this.#timer)
      switch (pc.connectionState) {
        case 'connected':
          onState('connected')
          break
        case 'disconnected': // often heals by itself; the impolite side waits less, so that one of the two acts
          onState('interrupted')
          this.#timer = setTimeout(() => this.restartIce(), initiator ? 3000 : 7000)
          break
        case 'failed':
          onState('interrupted')
          this.restartIce()
          this.#timer = setTimeout(() => onState('lost'), initiator ? 8000 : 14000)
          break
        default:
          onState('connecting')
          this.#timer = setTimeout(() => onState('lost'), initiator ? 20000 : 28000)
      }
    }
    this.#timer = setTimeout(() => onState('lost'), initiator ? 20000 : 28000)
    if (initiator) {
      for (const kind of ['audio', 'video']) {
        pc.addTransceiver(this.#track(kind) ?? kind, { direction: 'sendrecv', streams: [stream] })
      }
    }
  }

  #track(kind) {
    return this.#stream.getTracks().find((t) => t.kind === kind && t.readyState === 'live')
  }

  async #offer() {
    if (this.#closed || !(this.#initiator || this.#offered)) return
    try {
      this.#makingOffer = true
      await this.#pc.setLocalDescription()
      this.#describe()
    } catch (err) {
      if (!this.#closed) console.warn('offer:', err)
    } finally {
      this.#makingOffer = false
    }
  }

  // The server numbers offers; an answer repeats the number of its offer, so
  // that one to an offer that was replaced on the way goes nowhere.
  #describe(offer) {
    const d = this.#pc.localDescription
    if (!d || this.#closed) return
    const description = { type: d.type, sdp: d.sdp }
    if (d.type === 'offer') this.#send('rtc:offer', { description })
    else this.#send('rtc:answer', { description, offer })
  }

  /** receive takes rtc:offer, rtc:answer and rtc:ice of the other side, in order. */
  async receive({ description, offer, candidate, candidates }) {
    const pc = this.#pc
    try {
      if (description) {
        const ready = !this.#makingOffer && (pc.signalingState === 'stable' || this.#isSettingRemoteAnswerPending)
        const collision = description.type === 'offer' && !ready
        this.#ignoreOffer = this.#initiator && collision
        if (this.#ignoreOffer) return
        this.#isSettingRemoteAnswerPending = description.type === 'answer'
        try {
          await pc.setRemoteDescription(description)
        } finally {
          this.#isSettingRemoteAnswerPending = false
        }
        if (description.type === 'offer') {
          await this.#answerWithTracks()
          await pc.setLocalDescription()
          this.#describe(offer)
        }
        return
      }
      for (const c of candidates ?? (candidate ? [candidate] : [])) {
        try {
          await pc.addIceCandidate(c)
        } catch (err) {
          if (!this.#ignoreOffer && !this.#closed) console.debug('candidate of another generation:', err.message)
        }
      }
    } catch (err) {
      if (!this.#closed) console.warn('negotiation:', err)
    }
  }

  // The first offer makes the transceivers; we put our tracks into them, so
  // that one exchange serves both directions.
  async #answerWithTracks() {
    if (this.#initiator || this.#offered) return
    this.#offered = true
    for (const t of this.#pc.getTransceivers()) {
      t.direction = 'sendrecv'
      t.sender.setStreams?.(this.#stream)
      await t.sender.replaceTrack(this.#track(t.receiver.track.kind) ?? null)
    }
  }

  /** replace changes what we send of one kind, without a new negotiation; null sends nothing. */
  async replace(kind, track) {
    const t = this.#pc.getTransceivers().find((x) => x.receiver.track.kind === kind && !x.stopped)
    await t?.sender.replaceTrack(track)
  }

  /** restartIce looks for a new path; iceServers, if given, are fresh credentials. */
  restartIce(iceServers) {
    if (this.#closed) return
    if (iceServers) this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers })
    this.#pc.restartIce()
    if (this.#pc.signalingState === 'have-local-offer') this.#offer() // the offer was lost with a socket: no event will ask for another
  }

  get connected() {
    return this.#pc.connectionState === 'connected'
  }

  /** framesDecoded tells how many of the other's pictures have been shown. */
  async framesDecoded() {
    for (const s of (await this.#pc.getStats()).values()) {
      if (s.type === 'inbound-rtp' && s.kind === 'video') return s.framesDecoded ?? 0
    }
    return 0
  }

  close() {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#pc.ontrack = this.#pc.onicecandidate = this.#pc.onnegotiationneeded = this.#pc.onconnectionstatechange = null
    this.#pc.close()
  }
}
