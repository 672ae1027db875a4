// The peer of bench/sse.sh: one feed of server-sent events to all who listen. SIGUSR2 starts it: EVENTS events, one per INTERVAL_MS.
// usage: PORT=... EVENTS=... INTERVAL_MS=... node sse.js
import Fastify from 'fastify'

const run = '00000000-0000-4000-8000-000000000000'
const prev = '0'.repeat(64)
const listeners = new Set()
const app = Fastify({ logger: false })

app.get('/feed', (req, reply) => {
  reply.hijack()
  reply.raw.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  reply.raw.flushHeaders()
  listeners.add(reply.raw)
  reply.raw.on('close', () => listeners.delete(reply.raw))
})

process.on('SIGUSR2', () => {
  let seq = 0
  const timer = setInterval(() => {
    const line = JSON.stringify({ ts: new Date().toISOString(), runId: run, type: 'RunHeartbeat', uptimeMs: seq, seq, prev })
    for (const raw of listeners) raw.write(`id: ${seq}\nevent: heartbeat\ndata: ${line}\n\n`)
    if (++seq < Number(process.env.EVENTS)) return
    clearInterval(timer)
    for (const raw of listeners) raw.end()
  }, Number(process.env.INTERVAL_MS))
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
