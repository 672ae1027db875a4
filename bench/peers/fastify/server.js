// The peer of bench/api.sh: Fastify and pg with the same routes on the same tables as the orchestrator, written the way
// the Fastify and pg manuals show. Statements are prepared (named) and the same as the orchestrator's, keys are looked up by their
// SHA-256, the logger is off. KEY_CACHE_SECONDS=0 asks the database for the key at every request, as a plain preHandler hook would.
// usage: DATABASE_URL=... PORT=... [KEY_CACHE_SECONDS=10] node server.js
import { createHash } from 'node:crypto'
import Fastify from 'fastify'
import pg from 'pg'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 12 })
const cacheMs = Number(process.env.KEY_CACHE_SECONDS ?? 0) * 1000
const cache = new Map()

const RUN = {
  name: 'run',
  text: `SELECT r.id, r.project_id AS "projectId", r.workspace_id AS "workspaceId", r.status, r.streaming,
    coalesce(b.status = 'ready', false) AS "hasEvidence", r.engine, r.thread_id AS "threadId", r.git_commit AS "gitCommit",
    r.image_name AS "imageName", r.image_digest AS "imageDigest", r.error_message AS "errorMessage", r.reason,
    r.created_at AS "createdAt", r.started_at AS "startedAt", r.finished_at AS "finishedAt",
    r.cancel_requested_at AS "cancelRequestedAt", r.prompt, r.final_text AS "finalText", r.diff,
    r.run_context::json AS "runContext", r.env_snapshot AS "envSnapshot"
    FROM runs r LEFT JOIN evidence_bundles b ON b.run_id = r.id WHERE r.user_id = $1 AND r.id = $2`
}
const PROJECT = {
  name: 'project',
  text: `WITH p AS (INSERT INTO projects (user_id, name, repo_url) VALUES ($1, $2, NULL) RETURNING *),
    w AS (INSERT INTO workspaces (user_id, project_id) SELECT user_id, id FROM p RETURNING id)
    SELECT p.id, p.name, w.id AS "workspaceId", p.created_at AS "createdAt" FROM p, w`
}
const KEY = { name: 'key', text: 'SELECT id, user_id, scopes FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL' }

const app = Fastify({ logger: false, bodyLimit: 16384 })
app.decorateRequest('user', null)

app.addHook('preHandler', async (req, reply) => {
  const hash = createHash('sha256').update(req.headers['x-api-key'] ?? '').digest('hex')
  let hit = cacheMs > 0 ? cache.get(hash) : undefined
  if (!hit || hit.until < Date.now()) {
    const { rows } = await pool.query({ ...KEY, values: [hash] })
    if (rows.length === 0) return reply.code(401).send({ error: { code: 'unauthenticated', message: 'the API key is not valid' } })
    hit = { user: rows[0], until: Date.now() + cacheMs }
    if (cacheMs > 0) cache.set(hash, hit)
  }
  req.user = hit.user
})

app.get('/runs/:id', async (req, reply) => {
  const { rows } = await pool.query({ ...RUN, values: [req.user.user_id, req.params.id] })
  return rows[0] ?? reply.code(404).send({ error: { code: 'not_found', message: 'run not found' } })
})

const body = {
  type: 'object', required: ['name'], additionalProperties: false, properties: { name: { type: 'string', minLength: 1, maxLength: 128 } }
}
app.post('/projects', { schema: { body } }, async (req, reply) => {
  const { rows } = await pool.query({ ...PROJECT, values: [req.user.user_id, req.body.name] })
  return reply.code(201).send(rows[0])
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
