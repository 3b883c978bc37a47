// A certified OpenID provider with two public clients and one person, for sign-ins against somebody else's code.
//
//   node server.mjs CERT.pem KEY.pem LOGOUT       prints its issuer when it is ready, ends with its standard input
//
// LOGOUT is where the broker is told of who signed out here (OpenID Connect Back-Channel Logout).
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [cert, key] = process.argv.slice(2, 4).map((path) => readFileSync(path));
const logout = process.argv[4];
const server = createServer({ cert, key });
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `https://127.0.0.1:${server.address().port}`;

const signing = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const publicClient = {
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/back'],
};

const provider = new Provider(issuer, {
  clients: [
    { ...publicClient, client_id: 'openztna', backchannel_logout_uri: logout, backchannel_logout_session_required: true },
    { ...publicClient, client_id: 'other' },
  ],
  jwks: { keys: [{ ...signing, use: 'sig', alg: 'RS256', kid: 'interop' }] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false,
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: 'Ana', email: 'ana@acme.example', email_verified: true, groups: ['staff'] }),
  }),
  pkce: { required: () => true },
  cookies: { keys: ['interop'] },
  // The broker is on loopback, which the provider's own dispatcher refuses.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
  issueRefreshToken: async (_, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
});

provider.on('backchannel.error', (_, error) => console.error('logout:', error.message, error.cause ?? ''));
server.on('request', provider.callback());
process.stdin.resume().on('end', () => process.exit(0));
console.log(issuer);
