// Drives every resource of a running Posthorn with the official SDK. Prints `ok NAME` or `FAIL NAME: why`; exits 1 if
// anything failed.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { createHmac, randomUUID } from 'node:crypto';
import Nylas, { NylasApiError, NylasOAuthError } from 'nylas';

const E = process.env;
const nylas = new Nylas({ apiKey: E.API_KEY, apiUri: E.BASE_URL });
const settings = {
  imapHost: E.IMAP_HOST, imapPort: Number(E.IMAP_PORT), imapUsername: E.IMAP_USER, imapPassword: E.IMAP_PASSWORD,
  smtpHost: E.SMTP_HOST, smtpPort: Number(E.SMTP_PORT), ...JSON.parse(E.EXTRA_SETTINGS || '{}'),
};
let failed = 0;
let passed = 0;

async function check(name, fn) {
  try {
    await fn();
    passed++;
    console.log(`ok ${name}`);
  } catch (e) {
    failed++;
    console.log(`FAIL ${name}: ${String(e.message).replace(/\s+/g, ' ').slice(0, 400)}`);
  }
}

async function until(what, fn, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const v = await fn();
    if (v) return v;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

async function refused(promise, status, cls = NylasApiError) {
  try {
    await promise;
  } catch (e) {
    assert.ok(e instanceof cls, `${e.constructor.name}: ${e.message}`);
    if (status) assert.equal(e.statusCode, status);
    assert.ok(e.requestId, 'an error without request id');
    return e;
  }
  throw new Error('this should have been refused');
}

// append puts a message into INBOX over plain IMAP.
function append(raw, flags = '') {
  return new Promise((resolve, reject) => {
    const s = net.connect(settings.imapPort, settings.imapHost);
    const bytes = Buffer.from(raw.replace(/\r?\n/g, '\r\n'));
    const steps = [
      [/^\* OK/, `a LOGIN "${E.IMAP_USER}" "${E.IMAP_PASSWORD}"\r\n`],
      [/^a OK/m, `b APPEND INBOX (${flags}) {${bytes.length}}\r\n`],
      [/^\+/m, Buffer.concat([bytes, Buffer.from('\r\n')])],
      [/^b OK/m, 'c LOGOUT\r\n'],
    ];
    let got = '';
    s.setTimeout(20000, () => s.destroy(new Error('IMAP timeout')));
    s.on('error', reject);
    s.on('close', () => (steps.length ? reject(new Error(`IMAP: ${got}`)) : resolve()));
    s.on('data', (d) => {
      got += d;
      while (steps.length && steps[0][0].test(got)) {
        got = '';
        s.write(steps.shift()[1]);
      }
    });
  });
}

const tag = `sdk${randomUUID().slice(0, 8)}`;
const letter = (n, extra = '', body = 'Content-Type: text/plain; charset=utf-8\n\nHello.\n') =>
  `Message-ID: <${tag}-${n}@example.test>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nFrom: Bo <bo@example.test>\nTo: ${E.IMAP_USER}\nSubject: ${n === 'two' ? `Re: ${tag} one` : `${tag} ${n}`}\n${extra}MIME-Version: 1.0\n${body}`;

await append(letter('one', '', 'Content-Type: text/html\n\n<p>Yes.</p><blockquote type="cite">Really?</blockquote>\n'));
await append(letter('two', `In-Reply-To: <${tag}-one@example.test>\n`));
await append(letter('files', '', 'Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee.\n--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename="grüße &.txt"\n\nattached bytes\n--b--\n'), '\\Seen');

let grant;
const id = () => ({ identifier: grant.id });
await check('grants.wrong_password', async () => {
  await refused(nylas.auth.customAuthentication({ requestBody: { provider: 'imap', settings: { ...settings, imapPassword: 'wrong' } } }), 401);
});
await check('grants.connect', async () => {
  const r = await nylas.auth.customAuthentication({ requestBody: { provider: 'imap', settings, state: 's' } });
  grant = r.data;
  assert.equal(grant.email, E.IMAP_USER);
  await until('the first sync', async () => (await nylas.grants.find({ grantId: grant.id })).data.sync.state === 'live');
  const again = await nylas.auth.customAuthentication({ requestBody: { provider: 'imap', settings } });
  assert.equal(again.data.id, grant.id, 'a new login keeps the id');
  await until('the sync after it', async () => (await nylas.grants.find({ grantId: grant.id })).data.sync.state === 'live');
});
if (!grant) process.exit(1);
await check('grants', async () => {
  assert.ok((await nylas.grants.list({ queryParams: { email: E.IMAP_USER } })).data.some((g) => g.id === grant.id));
  assert.equal((await nylas.grants.find({ grantId: E.IMAP_USER })).data.id, grant.id);
  assert.deepEqual((await nylas.grants.update({ grantId: grant.id, requestBody: { scope: ['a'] } })).data.scope, ['a']);
  await refused(nylas.grants.find({ grantId: randomUUID() }), 404);
});

const messages = {};
await check('messages.list', async () => {
  await until('the mail', async () => (await nylas.messages.list({ ...id(), queryParams: { subject: tag } })).data.length === 3);
  for await (const page of nylas.messages.list({ ...id(), queryParams: { subject: tag, limit: 1 } })) {
    for (const m of page.data) messages[m.subject.startsWith('Re:') ? 'two' : m.subject.split(' ')[1]] = m;
    if (Object.keys(messages).length === 3) break;
  }
  assert.deepEqual(Object.keys(messages).sort(), ['files', 'one', 'two']);
  const some = async (q) => (await nylas.messages.list({ ...id(), queryParams: { subject: tag, ...q } })).data.length;
  assert.equal(await some({ unread: true }), 2);
  assert.equal(await some({ hasAttachment: true }), 1);
  assert.equal(await some({ anyEmail: ['bo@example.test', 'x@example.test'] }), 3);
  assert.equal(await some({ from: ['nobody@example.test'] }), 0);
  assert.equal((await nylas.messages.list({ ...id(), queryParams: { subject: tag, limit: 3 } })).data.length, 3);
});
const find = (k, queryParams) => nylas.messages.find({ ...id(), messageId: messages[k].id, queryParams });
await check('messages.find', async () => {
  assert.equal((await find('one')).data.body.includes('<p>Yes.</p>'), true);
  assert.ok((await find('one', { fields: 'include_headers' })).data.headers.some((h) => h.name === 'Message-ID'));
  assert.ok(Buffer.from((await find('one', { fields: 'raw_mime' })).data.rawMime, 'base64url').includes('really?'.toLowerCase().slice(1)));
  assert.equal((await find('one', { select: 'id,subject' })).data.body, undefined);
  await refused(nylas.messages.find({ ...id(), messageId: 'mAAAAAAAAAAAAAAAAAAAAAA' }), 404);
});
await check('messages.update', async () => {
  const r = await nylas.messages.update({ ...id(), messageId: messages.one.id, requestBody: { unread: false, starred: true, metadata: { key1: 'v', myKey: 'w' } } });
  assert.deepEqual([r.data.unread, r.data.starred, r.data.metadata.key1], [false, true, 'v']);
  assert.equal((await nylas.messages.list({ ...id(), queryParams: { metadataPair: { key1: 'v' } } })).data[0].id, messages.one.id);
});
await check('messages.clean', async () => {
  const r = await nylas.messages.cleanMessages({ ...id(), requestBody: { messageId: [messages.one.id] } });
  assert.equal(r.data[0].conversation, 'Yes.');
});
await check('threads', async () => {
  const t = (await nylas.threads.find({ ...id(), threadId: messages.one.threadId })).data;
  assert.deepEqual([...t.messageIds].sort(), [messages.one.id, messages.two.id].sort()); // they came in one second
  assert.equal((await nylas.threads.update({ ...id(), threadId: t.id, requestBody: { unread: false } })).data.unread, false);
  assert.ok((await nylas.threads.list({ ...id(), queryParams: { limit: 5, anyEmail: ['bo@example.test'] } })).data.some((x) => x.id === t.id));
});
await check('attachments', async () => {
  const a = messages.files.attachments[0];
  const at = { ...id(), attachmentId: a.id, queryParams: { messageId: messages.files.id } };
  assert.equal((await nylas.attachments.find(at)).data.filename, 'grüße &.txt');
  assert.equal((await nylas.attachments.downloadBytes(at)).toString(), 'attached bytes');
});
await check('folders', async () => {
  const f = (await nylas.folders.create({ ...id(), requestBody: { name: tag } })).data;
  assert.equal((await nylas.folders.update({ ...id(), folderId: f.id, requestBody: { name: `${tag}-new` } })).data.id, f.id);
  const moved = await nylas.messages.update({ ...id(), messageId: messages.two.id, requestBody: { folders: [f.id] } });
  assert.deepEqual(moved.data.folders, [f.id]);
  assert.equal((await nylas.folders.find({ ...id(), folderId: f.id })).data.name, `${tag}-new`);
  assert.ok((await nylas.folders.list(id())).data.length >= 2);
  await nylas.messages.destroy({ ...id(), messageId: messages.files.id });
  await nylas.folders.destroy({ ...id(), folderId: f.id });
  await refused(nylas.folders.find({ ...id(), folderId: f.id }), 404);
});

await check('webhooks', async () => {
  const got = [];
  const server = http.createServer((req, res) => {
    const challenge = new URL(req.url, 'http://x').searchParams.get('challenge');
    const chunks = [];
    req.on('data', (c) => chunks.push(c));
    req.on('end', () => {
      if (!challenge) got.push({ body: Buffer.concat(chunks), signature: req.headers['x-nylas-signature'] });
      res.end(challenge ?? '');
    });
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  try {
    const w = (await nylas.webhooks.create({ requestBody: { triggerTypes: ['message.created'], webhookUrl: `http://127.0.0.1:${server.address().port}/hook` } })).data;
    assert.ok((await nylas.webhooks.list()).data.some((x) => x.id === w.id));
    await append(letter('hook'));
    const n = await until('the notification', async () => got.find((g) => g.body.includes(`${tag} hook`)));
    assert.equal(n.signature, createHmac('sha256', w.webhookSecret).update(n.body).digest('hex'));
    assert.notEqual((await nylas.webhooks.rotateSecret({ webhookId: w.id })).data.webhookSecret, w.webhookSecret);
    assert.equal((await nylas.webhooks.update({ webhookId: w.id, requestBody: { description: 'd' } })).data.description, 'd');
    assert.equal((await nylas.webhooks.find({ webhookId: w.id })).data.webhookSecret, undefined);
    await nylas.webhooks.destroy({ webhookId: w.id });
    await refused(nylas.webhooks.find({ webhookId: w.id }), 404);
  } finally {
    server.close();
  }
});

let app;
await check('applications', async () => {
  app = (await nylas.applications.getDetails()).data;
  assert.equal((await nylas.applications.update({ requestBody: { branding: { name: 'SDK' } } })).data.branding.name, 'SDK');
  const u = (await nylas.applications.redirectUris.create({ requestBody: { url: 'http://localhost/cb', platform: 'web' } })).data;
  assert.equal((await nylas.applications.redirectUris.find({ redirectUriId: u.id })).data.url, 'http://localhost/cb');
  assert.equal((await nylas.applications.redirectUris.update({ redirectUriId: u.id, requestBody: { platform: 'js' } })).data.platform, 'js');
  assert.ok((await nylas.applications.getDetails()).data.callbackUris.some((x) => x.id === u.id));
  assert.equal((await nylas.connectors.find({ provider: 'imap' })).data.provider, 'imap');
  assert.equal((await nylas.connectors.update({ provider: 'imap', requestBody: { name: 'Any' } })).data.name, 'Any');
});

// form reads the hidden field and the cookie of a page.
async function form(url, cookie, fields) {
  const r = await fetch(url, fields ? { method: 'POST', redirect: 'manual', headers: { cookie }, body: new URLSearchParams(fields) } : { headers: { accept: 'text/html' } });
  const text = await r.text();
  return { status: r.status, location: r.headers.get('location'), text, csrf: /name="csrf" value="([^"]+)"/.exec(text)?.[1], cookie: r.headers.get('set-cookie')?.split(';')[0] };
}
await check('hosted login with PKCE', async () => {
  const pkce = nylas.auth.urlForOAuth2PKCE({ clientId: app.applicationId, redirectUri: 'http://localhost/cb', provider: 'imap', accessType: 'offline', loginHint: E.IMAP_USER, state: 'x y' });
  const page = await form(pkce.url);
  assert.equal(page.status, 200);
  const fields = { csrf: page.csrf, step: 'login', email: E.IMAP_USER, password: E.IMAP_PASSWORD, imap_host: E.IMAP_HOST, imap_port: E.IMAP_PORT, imap_security: 'none', smtp_host: E.SMTP_HOST, smtp_port: E.SMTP_PORT, smtp_security: 'none' };
  const back = new URL((await form(pkce.url, page.cookie, fields)).location);
  assert.equal(back.searchParams.get('state'), 'x y');
  const t = await nylas.auth.exchangeCodeForToken({ clientId: app.applicationId, redirectUri: 'http://localhost/cb', code: back.searchParams.get('code'), codeVerifier: pkce.secret });
  assert.equal(t.grantId, grant.id, 'the same mailbox is the same grant');
  const fresh = await nylas.auth.refreshAccessToken({ clientId: app.applicationId, redirectUri: 'http://localhost/cb', refreshToken: t.refreshToken });
  const user = new Nylas({ apiKey: fresh.accessToken, apiUri: E.BASE_URL });
  assert.equal((await user.grants.find({ grantId: 'me' })).data.id, grant.id);
  await until('the folders', async () => (await user.folders.list({ identifier: 'me' })).data.length > 0);
  await refused(user.grants.list(), 401);
  assert.equal((await nylas.auth.accessTokenInfo(fresh.accessToken)).data.sub, grant.id);
  assert.equal(await nylas.auth.revoke(fresh.accessToken), true);
  await refused(user.folders.list({ identifier: 'me' }), 401);
  await refused(nylas.auth.exchangeCodeForToken({ clientId: app.applicationId, redirectUri: 'http://localhost/cb', code: 'no' }), undefined, NylasOAuthError);
});
await check('grants.destroy', async () => {
  await nylas.grants.destroy({ grantId: grant.id });
  await refused(nylas.grants.find({ grantId: grant.id }), 404);
});

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
