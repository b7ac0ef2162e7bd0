// An app in a browser, made with fhirclient (the SMART JS client): opened by its user and launched by an EHR, let in and
// kept out. Its pages come from another origin than the server's, so that the browser holds both to CORS and to the
// Content-Security-Policy of the login pages.
//
// Usage: fhirclient_browser.mjs BASE_URL, with what smart.sh exports

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { chromium } from 'playwright-core';

const { FHIR_USER, LOGIN, PASSWORD, PLUMBLINE, CHROMIUM } = process.env;
const ID = 'browser-app';
const SCOPE = 'openid fhirUser offline_access launch user/Practitioner.rus';
const PATIENT = 'patient-of-the-ehr';

const step = (text) => console.log(`fhirclient browser: ${text}`);
const plumbline = (...args) => execFileSync(PLUMBLINE, args, { encoding: 'utf8' }).trim();

/** The pages of the app, by path. */
function pages(baseUrl) {
  const page = (script) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>App</title>
<link rel="icon" href="data:,">
<pre id="shown"></pre>
<script src="/fhir-client.js"></script>
<script type="module">${script}</script>
</html>`;
  const settings = { clientId: ID, redirectUri: '/app', scope: SCOPE.replace('launch ', '') };
  return {
    // The library adds the scope launch where there is a launch.
    '/': page(`FHIR.oauth2.authorize(${JSON.stringify({ ...settings, iss: baseUrl })})`),
    '/launch': page(`FHIR.oauth2.authorize(${JSON.stringify(settings)})`),
    '/app': page(`
      async function run() {
        const client = await FHIR.oauth2.ready();
        const bundle = await client.request('Practitioner?_count=1');
        const before = client.state.tokenResponse;
        await client.refresh();
        const after = client.state.tokenResponse;
        const me = await client.user.read();
        const updated = await client.update({ ...me, gender: me.gender === 'other' ? 'unknown' : 'other' });
        return {
          found: bundle.entry.length,
          fhirUser: client.user.fhirUser,
          patient: client.patient.id,
          scope: before.scope,
          idToken: before.id_token,
          isRefreshed: ['access_token', 'refresh_token'].every((it) => after[it] && after[it] !== before[it]),
          isUpdated: updated.meta.versionId !== me.meta.versionId,
        };
      }
      const shown = await run().catch((error) => ({ error: error.message }));
      document.querySelector('#shown').textContent = JSON.stringify(shown);`),
  };
}

function serve(contents) {
  const library = readFileSync(new URL('../node_modules/fhirclient/build/fhir-client.pure.min.js', import.meta.url));
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://app');
    const isLibrary = pathname === '/fhir-client.js';
    const body = isLibrary ? library : contents[pathname];
    response.writeHead(body ? 200 : 404, { 'Content-Type': isLibrary ? 'text/javascript' : 'text/html' }).end(body);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** Registers the app, and waits until the server lets its pages ask for tokens. */
async function register(baseUrl, origin) {
  plumbline('client', 'add', '--id', ID, '--scope', SCOPE, '--redirect-uri', `${origin}/app`);
  const headers = { origin, 'access-control-request-method': 'POST' };
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(new URL('/auth/token', baseUrl), { method: 'OPTIONS', headers });
    if (answer.headers.get('access-control-allow-origin') === origin) return;
    assert.ok(tries < 100, 'a new app is known within 10 seconds');
    await sleep(100);
  }
}

async function run(baseUrl, origin, page) {
  const faults = [];
  page.on('console', (message) => message.type() === 'error' && faults.push(`${page.url()}: ${message.text()}`));
  page.on('pageerror', (error) => faults.push(`${page.url()}: ${error}`));

  const logIn = async (password) => {
    await page.getByLabel('Name').fill(LOGIN);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Log in' }).click();
  };
  const decide = async (decision) => {
    await page.getByRole('heading', { name: 'Let this app in?' }).waitFor();
    assert.match(await page.locator('main').innerText(), new RegExp(`logged in as ${LOGIN}[^]*${ID}[^]*${origin}`));
    await page.getByRole('button', { name: decision }).click();
    await page.waitForURL(`${origin}/app?*`);
  };
  const shown = async () => JSON.parse(await page.locator('#shown:not(:empty)').textContent());
  const check = async (patient, scope) => {
    const { idToken, ...rest } = await shown();
    rest.scope = rest.scope?.split(' ').sort().join(' ');
    scope = scope.split(' ').sort().join(' ');
    assert.deepEqual(rest, { found: 1, fhirUser: FHIR_USER, patient, scope, isRefreshed: true, isUpdated: true });
    const { jwks_uri, issuer } = await (await fetch(`${baseUrl}/.well-known/smart-configuration`)).json();
    const keys = createRemoteJWKSet(new URL(jwks_uri));
    const { payload } = await jwtVerify(idToken, keys, { issuer, audience: ID });
    assert.equal(payload.fhirUser, `${baseUrl}/${FHIR_USER}`);
  };

  await page.goto(origin);
  await logIn('a wrong password');
  assert.match(await page.getByRole('alert').innerText(), /the password is wrong/);
  assert.deepEqual(faults.filter((fault) => !fault.includes('status of 403')), []);
  faults.length = 0;
  step('its user is told that a password is wrong');

  await logIn(PASSWORD);
  await decide('Allow');
  await check(null, SCOPE.replace('launch ', ''));
  step('logged in and let in; reads, refreshes its token, changes the entry of its user; the id_token is right');

  const response = await fetch(new URL('/auth/launch', baseUrl), {
    method: 'POST',
    headers: { authorization: `Bearer ${plumbline('token', '--scope', 'api/launch.write')}` },
    body: JSON.stringify({ client_id: ID, patient: PATIENT }),
  });
  const { launch } = await response.json();
  await page.goto(`${origin}/launch?${new URLSearchParams({ iss: baseUrl, launch })}`);
  await decide('Allow');
  await check(PATIENT, SCOPE);
  step('launched by an EHR, with its patient, and without another login');

  await page.goto(origin);
  await decide('Deny');
  assert.equal(new URL(page.url()).searchParams.get('error'), 'access_denied');
  assert.match((await shown()).error, /^access_denied: ./);
  step('kept out');

  assert.deepEqual(faults, []);
  step('OK: no page has a fault in the console');
}

const [baseUrl] = process.argv.slice(2);
if (!baseUrl) {
  console.error('Usage: fhirclient_browser.mjs BASE_URL');
  process.exit(2);
}
const server = await serve(pages(baseUrl));
const origin = `http://127.0.0.1:${server.address().port}`;
let browser;
try {
  await register(baseUrl, origin);
  browser = await chromium.launch({ executablePath: CHROMIUM });
  const page = await browser.newPage();
  page.setDefaultTimeout(10_000);
  await run(baseUrl, origin, page);
} finally {
  await browser?.close();
  server.closeAllConnections();
  server.close();
}
