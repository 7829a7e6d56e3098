// Receives events: verifies both kinds of signature and recognises repeated events. No dependencies.
// WEBHOOK_SECRET=whsec_… [WEBHOOK_KEY=whpk_…] PORT=8000 node receive_webhook.mjs, behind TLS.
import { createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import { createServer } from 'node:http';

const TOLERANCE_S = 300;
const MAX_BODY_BYTES = 64 * 1024;
const secret = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ''), 'base64');
const publicKey = process.env.WEBHOOK_KEY && createPublicKey({
  key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(process.env.WEBHOOK_KEY.replace(/^whpk_/, ''), 'base64').toString('base64url') },
  format: 'jwk',
});
const seen = new Set(); // in memory only: use a table with a unique id

function isSigned(headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signatures } = headers;
  if (!id || !at || !signatures || !(Math.abs(Date.now() / 1000 - Number(at)) <= TOLERANCE_S)) return false;
  const content = Buffer.concat([Buffer.from(`${id}.${at}.`), body]);
  const expected = createHmac('sha256', secret).update(content).digest();
  const parts = signatures.split(' ').map((part) => part.split(','));
  const given = (version) => parts.filter(([name]) => name === version).map(([, text]) => Buffer.from(text ?? '', 'base64'));
  const hasSecret = given('v1').some((each) => each.length === expected.length && timingSafeEqual(each, expected));
  const hasKey = !publicKey || given('v1a').some((each) => verify(null, content, publicKey, each));
  return hasSecret && hasKey;
}

const server = createServer((request, response) => {
  const chunks = [];
  let size = 0;
  request.on('data', (chunk) => {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  });
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    if (size > MAX_BODY_BYTES || !isSigned(request.headers, body)) return response.writeHead(401).end();
    const event = JSON.parse(body);
    if (!seen.has(event.id)) console.log(event.sequence, event.type, event.id);
    seen.add(event.id);
    return response.writeHead(204).end();
  });
});
server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => console.log('port', server.address().port));
