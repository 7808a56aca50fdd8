// A real OpenID Connect provider on a port of its own. Clients get JWTs (client credentials) for the resource
// https://honeyguide.example/ALGORITHM, signed by a key of that algorithm. POST /rotate replaces all of its keys; GET /asked tells
// how often they were asked for. The first line it prints is where it is.
import http from 'node:http';
import { Provider } from 'oidc-provider';
import { exportJWK, generateKeyPair } from 'jose';

let generation = 0;
let asked = 0;
let issuer;
let handler;

async function rotate() {
  generation += 1;
  const keys = [];
  for (const [alg, options] of [['RS256', {}], ['ES256', {}], ['EdDSA', { crv: 'Ed25519' }]]) {
    const { privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
    keys.push({ ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${generation}` });
  }
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'feeder',
      client_secret: 'a secret of a test, and of nothing else',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
    }],
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
    extraTokenClaims: (ctx) => ({
      groups: (ctx.oidc.body.groups ?? 'soc').split(','),
      pots: (ctx.oidc.body.pots ?? '*').split(','),
    }),
    extraParams: ['groups', 'pots'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: '',
          audience: ctx.oidc.body.audience ?? 'honeyguide',
          accessTokenTTL: 300,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: new URL(resource).pathname.slice(1) } },
        }),
      },
    },
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  handler = provider.callback();
}

const server = http.createServer((request, response) => {
  if (request.url === '/rotate') {
    rotate().then(() => response.end('rotated'));
  } else if (request.url === '/asked') {
    response.end(String(asked));
  } else {
    if (request.url === '/jwks') asked += 1;
    handler(request, response);
  }
});
server.listen(0, '127.0.0.1', async () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  await rotate();
  console.log(issuer);
});
// Ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume();
