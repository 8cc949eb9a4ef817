// A certified OpenID Connect provider, for tests: anybody may log in, with any password. Prints its issuer, and ends with
// its standard input. Argument: seconds that an access token is good for.
import http from 'node:http';
import Provider from 'oidc-provider';

const seconds = Number(process.argv.at(-1));
const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const resource = { audience: 'incus.example', scope: '', accessTokenFormat: 'jwt', accessTokenTTL: seconds };
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'incus',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      redirect_uris: [],
      response_types: [],
    }],
    cookies: { keys: ['test'] },
    features: {
      deviceFlow: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://incus.example',
        getResourceServerInfo: () => resource,
        useGrantedResource: () => true,
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    scopes: ['openid', 'offline_access', 'email'],
  });
  provider.use(async (context, next) => { // the command cannot do without an interval
    await next();
    if (context.oidc?.route === 'device_authorization') context.body.interval = 1;
  });
  provider.on('server_error', (_, error) => console.error(error));
  server.on('request', provider.callback());
  console.log(issuer);
});
process.stdin.on('end', () => process.exit()).resume();
