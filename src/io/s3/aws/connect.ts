/**
 * The S3 port over the official AWS SDK: this folder alone knows it, loaded when an `s3://` URI is first opened.
 *
 * The SDK makes the requests and finds the credentials; it does not try again, since it would neither see a body that stalls
 * nor let us bound the requests.
 */
import { S3Client } from '@aws-sdk/client-s3';
import type { S3Profile } from '../../storage/settings.ts';
import { StoreFault } from '../../store-fault.ts';
import { openWire } from '../../wire/pool.ts';
import { EXPIRED, isOfKeys, renewedKeys } from '../keys.ts';
import type { S3Port } from '../port.ts';
import { watchEndpoint } from './endpoint.ts';
import { faultOf } from './faults.ts';
import { identityOf, identityText, regionOf } from './identity.ts';
import { objectsOf } from './objects.ts';
import type { Requests } from './requests.ts';
import { guardAnswers } from './sdk-answers.ts';
import { uploadsOf } from './uploads.ts';

/** Milliseconds to reach a store at all. */
const CONNECT_TIMEOUT = 10_000;
/** Requests at a time to one store. */
const SOCKETS = 64;

export async function connectS3(profile: S3Profile | null): Promise<S3Port> {
  const region = await regionOf(profile);
  const client = new S3Client({
    region,
    maxAttempts: 1,
    followRegionRedirects: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT, httpAgent: { maxSockets: SOCKETS }, httpsAgent: { maxSockets: SOCKETS } },
    ...(profile?.profile === undefined ? {} : { profile: profile.profile }),
    ...(profile?.endpoint === undefined ? {} : { endpoint: profile.endpoint }),
    ...(profile?.path_style === undefined ? {} : { forcePathStyle: profile.path_style }),
    ...(await identityOf(profile, region)),
  });
  const endGuard = guardAnswers(client);
  const wire = openWire({ timeoutMs: CONNECT_TIMEOUT, most: SOCKETS });
  const placeOf = watchEndpoint(client, { preferPathStyle: profile?.path_style === undefined, region });
  const payer = profile?.requester_pays === true ? ({ RequestPayer: 'requester' } as const) : {};

  // The SDK refreshes by the clock alone; a role that was revoked, a token that ended early or a key that was taken back it would send for ever.
  const keys = renewedKeys((again) => client.config.credentials({ forceRefresh: again }));

  async function faultsOf<T>(permission: string, work: () => Promise<T>): Promise<T> {
    const before = keys.generation();
    try {
      return await work();
    } catch (error) {
      const fault = faultOf(error);
      if (!(fault instanceof StoreFault)) throw fault;
      fault.permission = permission;
      if (!isOfKeys(fault)) throw fault;
      await keys.renew(EXPIRED.test(fault.code));
      // With others it is another question.
      throw keys.generation() === before ? fault : fault.again();
    }
  }

  const requests: Requests = { client, payer, faultsOf };
  return {
    async describe(bucket) {
      const { hostname, origin } = await placeOf(bucket).catch((error: unknown) => {
        throw faultOf(error);
      });
      return {
        region,
        endpoint: /\.amazonaws\.com(\.cn)?$/.test(hostname) ? null : origin,
        credentials: identityText(profile),
        profile: profile?.profile ?? null,
      };
    },
    ...objectsOf(requests, wire),
    ...uploadsOf(requests),
    close() {
      endGuard();
      client.destroy();
      wire.close();
    },
  };
}
