// Charts as SVG: a stack of areas in front of bands, and a plain curve. Each
// call draws the whole anew; a minute or an hour of points is little.

const NS = 'http://www.w3.org/2000/svg'

function node(tag, attributes, text) {
  const n = document.createElementNS(NS, tag)
  for (const [k, v] of Object.entries(attributes)) n.setAttribute(k, v)
  if (text !== undefined) n.textContent = text
  return n
}

/** bytes says a number of bytes in three digits. */
export function bytes(n) {
  if (!Number.isFinite(n)) return '–'
  const units = ['B', 'KiB', 'MiB', 'GiB']
  let i = 0
  while (Math.abs(n) >= 1000 && i < units.length - 1) { n /= 1024; i++ }
  return (i === 0 || n >= 100 ? Math.round(n) : n >= 10 ? n.toFixed(1) : n.toFixed(2)) + ' ' + units[i]
}

/** count says a number with thin spaces between the thousands. */
export const count = (n) => Number.isFinite(n) ? Math.round(n).toLocaleString('en').replaceAll(',', '\u202f') : '–'

export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })

/** nice rounds up to 1, 2 or 5 times a power of the base. */
function nice(v, base) {
  if (v <= 0) return 1
  const unit = base ** Math.floor(Math.log(v) / Math.log(base))
  const steps = base === 10 ? [1, 2, 5, 10] : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
  return unit * steps.find((s) => s * unit >= v)
}

class Chart {
  constructor(figure, { say, top }) {
    this.figure = figure
    this.say = say // (point) → lines of the tip
    this.room = top ? 60 : 40 // for the labels at the left
    this.svg = node('svg', { 'aria-hidden': 'true' })
    this.tip = document.createElement('div')
    this.tip.className = 'tip'
    this.tip.hidden = true
    figure.append(this.svg, this.tip)
    new ResizeObserver(() => this.draw()).observe(figure)
    figure.addEventListener('pointermove', (e) => { this.x = e.clientX - figure.getBoundingClientRect().left; this.point() })
    figure.addEventListener('pointerleave', () => { this.x = undefined; this.point() })
  }

  // frame empties the picture and sets its axes: time from left to right.
  frame(max, label, base) {
    const { width, height } = this.figure.getBoundingClientRect()
    this.svg.replaceChildren()
    this.w = Math.max(width - this.room - 6, 10)
    this.h = Math.max(height - 20, 10)
    const at = this.points.map((p) => p.at)
    this.t0 = at[0] ?? 0
    this.t1 = Math.max(at.at(-1) ?? 1, this.t0 + 1)
    this.max = max
    this.px = (t) => this.room + (t - this.t0) / (this.t1 - this.t0) * this.w
    this.py = (v) => 4 + this.h * (1 - Math.min(v / max, 1.02))
    const rows = this.h > 120 ? 4 : max % 2 ? 1 : 2 // there are no halves of a call
    for (let i = 0; i <= rows; i++) {
      const y = this.py(max * i / rows)
      this.svg.append(node('line', { class: 'grid', x1: this.room, x2: this.room + this.w, y1: y, y2: y }))
      this.svg.append(node('text', { x: this.room - 6, y: y + 4, 'text-anchor': 'end' }, label(max * i / rows)))
    }
    if (at.length > 1) {
      if (this.w > 130) this.svg.append(node('text', { x: this.room, y: this.h + 18 }, clock(this.t0))) // else they would touch
      this.svg.append(node('text', { x: this.room + this.w, y: this.h + 18, 'text-anchor': 'end' }, clock(this.t1)))
    }
  }

  path(above, below) {
    const forth = this.points.map((p, i) => `${this.px(p.at).toFixed(1)},${this.py(above(p, i)).toFixed(1)}`)
    if (!below) return 'M' + forth.join('L')
    const back = this.points.map((p, i) => `${this.px(p.at).toFixed(1)},${this.py(below(p, i)).toFixed(1)}`).reverse()
    return 'M' + forth.join('L') + 'L' + back.join('L') + 'Z'
  }

  // point shows the step under the pointer.
  point() {
    this.mark?.remove()
    const p = this.x === undefined ? undefined : this.points?.reduce((a, b) => Math.abs(this.px(b.at) - this.x) < Math.abs(this.px(a.at) - this.x) ? b : a, this.points[0])
    this.tip.hidden = !p
    if (!p) return
    const x = this.px(p.at)
    this.mark = node('line', { class: 'at', x1: x, x2: x, y1: 4, y2: 4 + this.h })
    this.svg.append(this.mark)
    this.tip.textContent = [clock(p.at), ...this.say(p)].join('\n')
    const right = x > this.room + this.w / 2
    this.tip.style.left = right ? '' : `${x + 10}px`
    this.tip.style.right = right ? `${this.figure.clientWidth - x + 10}px` : ''
  }
}

/** Stack draws what holds the budget, and the levels as bands. */
export class Stack extends Chart {
  constructor(figure, say) { super(figure, { say, top: true }) }

  show(points, { names, budget, begins, levels, fit }) {
    Object.assign(this, { points, names, budget, begins, levels, fit })
    this.draw()
  }

  draw() {
    if (!this.points?.length) return
    const sum = (p) => p.used.reduce((a, b) => a + b, 0)
    const most = Math.max(...this.points.map(sum))
    this.frame(this.fit ? Math.min(nice(most * 1.15, 1024), this.budget) : this.budget, bytes, 1024)
    for (let lv = 1; lv < this.begins.length; lv++) {
      const from = this.begins[lv] * this.budget
      const to = (this.begins[lv + 1] ?? 1) * this.budget
      if (from >= this.max) continue
      const y = this.py(to)
      this.svg.append(node('rect', { class: 'band', x: this.room, width: this.w, y, height: this.py(from) - y, fill: `var(--l${lv})` }))
      this.svg.append(node('line', { class: 'edge', x1: this.room, x2: this.room + this.w, y1: this.py(from), y2: this.py(from), stroke: `var(--l${lv})` }))
      this.svg.append(node('text', { x: this.room + this.w - 4, y: this.py(from) - 4, 'text-anchor': 'end' }, this.levels[lv]))
    }
    // When the level was above normal, whatever the source, the ground says so.
    this.points.forEach((p, i) => {
      if (!p.level) return
      const x = this.px(p.at)
      const end = i + 1 < this.points.length ? this.px(this.points[i + 1].at) : this.room + this.w
      this.svg.append(node('rect', { x, width: Math.max(end - x, 1), y: this.h, height: 4, fill: `var(--l${p.level})` }))
      this.svg.append(node('rect', { class: 'band', x, width: Math.max(end - x, 1), y: 4, height: this.h, fill: `var(--l${p.level})` }))
    })
    const under = this.points.map(() => 0)
    this.names.forEach((_, a) => {
      const before = under.slice()
      this.points.forEach((p, i) => { under[i] += p.used[a] ?? 0 })
      this.svg.append(node('path', { d: this.path((_, i) => under[i], (_, i) => before[i]), fill: `var(--a${a % 9})` }))
    })
    this.svg.append(node('path', { class: 'total', d: this.path(sum) }))
    this.point()
  }
}

/** Curve draws one figure over time. */
export class Curve extends Chart {
  constructor(figure, value, say) {
    super(figure, { say: (p) => [say(value(p))] })
    this.value = value
    this.label = say
  }

  show(points, most) {
    Object.assign(this, { points, most })
    this.draw()
  }

  draw() {
    if (!this.points?.length) return
    const most = Math.max(...this.points.map(this.value), 2)
    this.frame(nice(most, 10), count, 10)
    this.svg.append(node('path', { class: 'under', d: this.path(this.value, () => 0) }))
    this.svg.append(node('path', { class: 'curve', d: this.path(this.value) }))
    this.point()
  }
}
