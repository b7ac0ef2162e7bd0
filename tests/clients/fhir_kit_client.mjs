// What fhir-kit-client does with the server: transaction, read, vread, search (GET and POST), page, update, patch,
// history, delete.
//
// Usage: fhir_kit_client.mjs BASE_URL, with an access token in ACCESS_TOKEN

import assert from 'node:assert/strict';
import { Client } from 'fhir-kit-client';

const PLAN_NET = 'http://hl7.org/fhir/us/davinci-pdex-plan-net';
const MANY = 60;
const PAGE = 12;

const step = (text) => console.log(`fhir-kit-client: ${text}`);

const location = (name) => ({
  resourceType: 'Location',
  meta: { profile: [`${PLAN_NET}/StructureDefinition/plannet-Location`] },
  status: 'active',
  name,
  address: { line: ['123 Main Street'], city: 'Hartford', state: 'CT', postalCode: '06103' },
  position: { longitude: -72.69, latitude: 41.76 },
});

async function refused(promise, statuses, text) {
  const fault = await promise.then(() => undefined, (error) => error);
  assert.ok(fault?.response, `${text}: refused`);
  assert.ok(statuses.includes(fault.response.status), `${text}: ${fault.response.status}`);
  assert.equal(fault.response.data.resourceType, 'OperationOutcome', `${text}: an OperationOutcome`);
  assert.ok(fault.response.data.issue.length > 0, `${text}: an issue`);
}

async function run(client, made) {
  const capability = await client.capabilityStatement();
  assert.equal(capability.resourceType, 'CapabilityStatement');
  assert.match(capability.fhirVersion, /^4\.0/);
  step('read the CapabilityStatement');

  const name = `Kit${Math.random().toString(36).slice(2).replace(/[0-9]/g, 'q')}`;
  const body = location(`${name} first`);
  const first = await client.create({ resourceType: 'Location', body });
  made.push(first.id);
  assert.equal(first.name, body.name);
  assert.deepEqual(first.position, body.position);
  const { response } = Client.httpFor(first);
  assert.equal(response.status, 201);
  assert.match(response.headers.get('location') ?? '', new RegExp(`Location/${first.id}/_history/${first.meta.versionId}$`));
  assert.equal(response.headers.get('etag'), `W/"${first.meta.versionId}"`);
  step('created one, with Location and ETag');

  const entry = Array.from({ length: MANY - 1 }, (_, number) => ({
    fullUrl: `urn:uuid:${crypto.randomUUID()}`,
    resource: location(`${name} ${number}`),
    request: { method: 'POST', url: 'Location' },
  }));
  const done = await client.transaction({ body: { resourceType: 'Bundle', type: 'transaction', entry } });
  assert.equal(done.type, 'transaction-response');
  assert.equal(done.entry.length, MANY - 1);
  for (const { response: each } of done.entry) {
    assert.match(each.status, /^201/);
    made.push(each.location.match(/Location\/([^/]+)\/_history\//)[1]);
  }
  step(`created ${MANY - 1} in a transaction`);

  const read = await client.read({ resourceType: 'Location', id: first.id });
  assert.deepEqual(read, first);
  step('read one');

  const ids = [];
  let pages = 0;
  let bundle = await client.search({ resourceType: 'Location', searchParams: { name, _count: PAGE } });
  for (; bundle; bundle = await client.nextPage({ bundle })) {
    assert.equal(bundle.type, 'searchset');
    assert.ok(bundle.link.some((link) => link.relation === 'self'), 'a page has a self link');
    ids.push(...bundle.entry.map((each) => each.resource.id));
    pages += 1;
    assert.ok(pages <= MANY, 'paging ends');
  }
  assert.equal(pages, Math.ceil(MANY / PAGE));
  assert.deepEqual([...ids].sort(), [...made].sort());
  step(`paged through ${ids.length} in ${pages} pages by next links`);

  const posted = await client.search({
    resourceType: 'Location',
    searchParams: { name: `${name} first` },
    options: { postSearch: true },
  });
  assert.deepEqual(posted.entry.map((each) => each.resource.id), [first.id]);
  const none = await client.search({ resourceType: 'Location', searchParams: { name: `${name}x` } });
  assert.equal((none.entry ?? []).length, 0);
  step('searched for one with POST, and for none');

  const second = await client.update({
    resourceType: 'Location',
    id: first.id,
    body: { ...read, description: 'Updated' },
    options: { headers: { 'If-Match': `W/"${first.meta.versionId}"` } },
  });
  assert.equal(second.description, 'Updated');
  assert.notEqual(second.meta.versionId, first.meta.versionId);
  const old = await client.vread({ resourceType: 'Location', id: first.id, version: first.meta.versionId });
  assert.equal(old.description, undefined);
  step('updated one with If-Match; the old version is still there');

  const third = await client.patch({
    resourceType: 'Location',
    id: first.id,
    jsonPatch: [{ op: 'replace', path: '/description', value: 'Patched' }],
  });
  assert.equal(third.description, 'Patched');
  step('patched one');

  const history = await client.history({ resourceType: 'Location', id: first.id });
  assert.equal(history.type, 'history');
  assert.deepEqual(
    history.entry.map((each) => each.resource.meta.versionId),
    [third, second, first].map((each) => each.meta.versionId),
  );
  step('read the history, newest first');

  await refused(client.read({ resourceType: 'Location', id: 'there-is-none' }), [404], 'an unknown id');
  await refused(
    client.search({ resourceType: 'Location', searchParams: { _lastUpdated: 'never' } }),
    [400],
    'a malformed date',
  );
  await refused(
    client.create({ resourceType: 'Location', body: { ...body, resourceType: 'Practitioner' } }),
    [400, 422],
    'a body of another type',
  );
  step('refusals are OperationOutcomes');
}

async function remove(client, made) {
  const count = made.length;
  while (made.length > 0) {
    const id = made.at(-1);
    await client.delete({ resourceType: 'Location', id });
    await refused(client.read({ resourceType: 'Location', id }), [404, 410], 'a deleted resource');
    made.pop();
  }
  step(`deleted ${count} resources`);
}

const [baseUrl] = process.argv.slice(2);
if (!baseUrl) {
  console.error('Usage: fhir_kit_client.mjs BASE_URL');
  process.exit(2);
}
const client = new Client({ baseUrl: baseUrl.replace(/\/+$/, ''), bearerToken: process.env.ACCESS_TOKEN });
const made = [];
try {
  await run(client, made);
  await remove(client, made);
  step('OK');
} catch (error) {
  console.error(error);
  if (error.response) console.error(JSON.stringify(error.response));
  // The fault that counts is the first one; what was made goes all the same.
  for (const id of made.reverse()) {
    await client.delete({ resourceType: 'Location', id }).catch(() => console.error(`left behind Location/${id}`));
  }
  process.exitCode = 1;
}
