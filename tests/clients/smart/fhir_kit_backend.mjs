// A backend service, made with fhir-kit-client, and jose for keys and assertions (the library has none): for a key of each of
// SMART's algorithms it gets a token, and creates, updates, finds and deletes an Organization.
//
// Usage: fhir_kit_backend.mjs BASE_URL, with what smart.sh exports

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Client } from 'fhir-kit-client';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';

const ID = 'backend';
const SCOPE = 'system/Organization.cruds';
const PLAN_NET = 'http://hl7.org/fhir/us/davinci-pdex-plan-net';

const step = (text) => console.log(`fhir-kit-client backend: ${text}`);

const organization = (name) => ({
  resourceType: 'Organization',
  active: true,
  type: [{ coding: [{ system: `${PLAN_NET}/CodeSystem/OrgTypeCS`, code: 'prvgrp' }] }],
  name,
  address: [{ line: ['1 Main Street'], city: 'Hartford', state: 'CT', postalCode: '06103' }],
});

/** Makes a key of each algorithm, and registers a client with both. */
async function register() {
  const keys = {};
  const published = [];
  for (const alg of ['ES384', 'RS384']) {
    const { privateKey, publicKey } = await generateKeyPair(alg);
    keys[alg] = privateKey;
    published.push({ ...(await exportJWK(publicKey)), alg, kid: alg, use: 'sig' });
  }
  const file = join(dirname(process.env.PLUMBLINE_DATA), 'jwks.json');
  writeFileSync(file, JSON.stringify({ keys: published }));
  execFileSync(process.env.PLUMBLINE, ['client', 'add', '--id', ID, '--jwks', file, '--scope', SCOPE]);
  return keys;
}

const assertion = (url, alg, key) =>
  new SignJWT({})
    .setProtectedHeader({ alg, kid: alg, typ: 'JWT' })
    .setIssuer(ID)
    .setSubject(ID)
    .setAudience(url)
    .setJti(crypto.randomUUID())
    .setExpirationTime('4m')
    .sign(key);

async function ask(url, client_assertion) {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    scope: SCOPE,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion,
  });
  const response = await fetch(url, { method: 'POST', body });
  return { status: response.status, ...(await response.json()) };
}

async function run(baseUrl) {
  const { tokenUrl } = await new Client({ baseUrl }).smartAuthMetadata();
  assert.equal(tokenUrl?.href, new URL('/auth/token', baseUrl).href);
  step('discovered the token endpoint');

  const nobody = new Client({ baseUrl }).create({ resourceType: 'Organization', body: organization('Nobody') });
  const fault = await nobody.then(() => undefined, (error) => error);
  assert.equal(fault?.response?.status, 401);
  step('does not write without a token');

  for (const [alg, key] of Object.entries(await register())) {
    const signed = await assertion(tokenUrl.href, alg, key);
    const token = await ask(tokenUrl, signed);
    assert.equal(token.status, 200, JSON.stringify(token));
    assert.equal(token.scope, SCOPE);
    assert.ok(token.expires_in <= 300);
    const again = await ask(tokenUrl, signed);
    assert.deepEqual([again.status, again.error], [401, 'invalid_client']);
    step(`${alg}: got a token for an assertion, and no second one for the same`);

    const client = new Client({ baseUrl, bearerToken: token.access_token });
    const name = `Backend ${alg}`;
    const { id } = await client.create({ resourceType: 'Organization', body: organization(name) });
    const body = { ...organization(`${name} renamed`), id };
    assert.equal((await client.update({ resourceType: 'Organization', id, body })).meta.versionId, '2');
    const find = async () => {
      const { entry = [] } = await client.search({ resourceType: 'Organization', searchParams: { name: body.name } });
      return entry.map((each) => each.resource.id);
    };
    assert.deepEqual(await find(), [id]);
    await client.delete({ resourceType: 'Organization', id });
    assert.deepEqual(await find(), []);
    step(`${alg}: created, updated, found and deleted an Organization`);
  }
  step('OK');
}

const [baseUrl] = process.argv.slice(2);
if (!baseUrl) {
  console.error('Usage: fhir_kit_backend.mjs BASE_URL');
  process.exit(2);
}
await run(baseUrl);
