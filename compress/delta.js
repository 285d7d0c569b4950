// Follows a Go compress.Delta or JSONDelta by its frames.
//   const d = new Delta()
//   if (!d.apply(frame)) askForSnapshot()
//   show(d.value, d.extra)
const put = (o, k, value) => Object.defineProperty(o, k, { value, writable: true, enumerable: true, configurable: true })

// column i gets v; texts lack what all have in common
const set = (cols, o, i, v) => {
  const [name, pre, post] = [].concat(cols[i])
  const key = name.replace(/\?$/, '')
  if (v === null && key != name) delete o[key]
  else {
    if (post != null && v !== null)
      v = !v.map ? pre + v + post : v.length < 2 ? v[0] : o[key].slice(0, pre.length + v[0]) + v[1] + post
    put(o, key, v)
  }
  return o
}
export const row = (cols, r) => r.reduce((o, v, i) => set(cols, o, i, v), {})

// runs (start, count) of the old list, and new elements
const list = (old, order, make) => {
  if (!order) return [...old]
  const out = []
  for (let i = 0; i < order.length; i++)
    if (order[i].map) out.push(make(order[i]))
    else out.push(...old.slice(order[i], order[i] + order[++i]))
  return out
}

const patch = (old, op) => {
  const l = op.map
  if (l && !op[1]) return op[0]
  const out = l ? list(old, op[0], (v) => v[0]) : { ...old }
  const parts = l ? op[1] : op
  for (const k in parts)
    if (parts[k] === 0) delete out[k]
    else put(out, k, patch(out[k], parts[k]))
  return out
}

export class Delta {
  apply([kind, version, a, b, extra]) {
    const whole = kind == 'S' || (kind == 'J' && a.map && !a[1])
    if (!whole && version !== (version && this.version + 1)) return false
    if (kind == 'J') this.value = patch(this.value, a)
    else if (whole) this.value = b.map((r) => row(a, r), (this.cols = a))
    else {
      const rows = list(this.value, a, (r) => row(this.cols, r))
      for (let i = 0; b && i < b.length; i += 3)
        rows[b[i]] = set(this.cols, { ...rows[b[i]] }, b[i + 1], b[i + 2])
      this.value = rows
    }
    if (extra !== undefined) this.extra = extra
    this.version = version
    return true
  }
}
