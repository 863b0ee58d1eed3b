/**
 * The S3 port over the official AWS SDK: the only file that knows it, loaded when an `s3://` URI is first opened.
 *
 * The SDK makes the requests and finds the credentials; it does not try again, since it would neither see a body that stalls
 * nor let us bound the requests.
 */
import { isIP } from 'node:net';
import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import type { S3Profile } from '../storage/settings.ts';
import { isRetryableStatus, networkFault, oneLine, retryAfter, StoreFault } from '../store-fault.ts';
import { openWire } from '../wire/pool.ts';
import { streamBody } from '../wire/range-body.ts';
import { EXPIRED, isOfKeys, renewedKeys } from './keys.ts';
import type { S3Object, S3Part, S3Port, WriteCondition } from './port.ts';
import { guardAnswers } from './sdk-answers.ts';
import { takeBody } from './take-body.ts';

/** Milliseconds to reach a store at all. */
const CONNECT_TIMEOUT = 10_000;
/** Requests at a time to one store. */
const SOCKETS = 64;
/** Where neither settings nor environment name one: AWS says where a bucket really is, other stores do not mind. */
const DEFAULT_REGION = 'us-east-1';

/** Name of the user metadata that holds a writer's mark. */
const MARK = 'checkpoint-pipeline';

/** Codes that stores answer with when they have too much to do, whatever the status. */
const THROTTLING = new Set([
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'TooManyRequestsException',
  'RequestLimitExceeded',
  'BandwidthLimitExceeded',
  'RequestThrottled',
  'RequestTimeout',
  'InternalError',
  'ServiceUnavailable',
  'OperationAborted',
  // The SDK corrects its clock by the answer.
  'RequestTimeTooSkewed',
]);

export async function connectS3(profile: S3Profile | null): Promise<S3Port> {
  const region = profile?.region ?? (await configuredRegion(profile)) ?? DEFAULT_REGION;
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
  const resolved = watchEndpoint(client, { preferPathStyle: profile?.path_style === undefined });
  const payer = profile?.requester_pays === true ? ({ RequestPayer: 'requester' } as const) : {};

  // The SDK refreshes by the clock alone; a role that was revoked, a token that ended early or a key that was taken back it would send for ever.
  const keys = renewedKeys((again) => client.config.credentials({ forceRefresh: again }));

  async function faultsOf<T>(work: () => Promise<T>): Promise<T> {
    const before = keys.generation();
    try {
      return await work();
    } catch (error) {
      const fault = faultOf(error);
      if (!(fault instanceof StoreFault) || !isOfKeys(fault)) throw fault;
      await keys.renew(EXPIRED.test(fault.code));
      // With others it is another question.
      throw keys.generation() === before ? fault : fault.again();
    }
  }

  return {
    async describe(bucket) {
      const found = client.config.endpointProvider({
        Bucket: bucket,
        Region: region,
        ...customEndpoint(resolved() ?? (await configuredEndpoint(client))),
      });
      return {
        region,
        endpoint: /\.amazonaws\.com(\.cn)?$/.test(found.url.hostname) ? null : found.url.origin,
        credentials:
          profile?.unsigned === true
            ? 'no credentials (unsigned requests)'
            : `the credentials of ${profile?.profile === undefined ? 'the AWS default chain' : `the AWS profile ${profile.profile}`}${profile?.role_arn === undefined ? '' : ` in the role ${profile.role_arn}`}`,
      };
    },
    head: (object, options, signal) =>
      faultsOf(async () => {
        const answer = await client.send(
          new HeadObjectCommand({ ...named(object), ...payer, ...(options.checksum ? { ChecksumMode: 'ENABLED' } : {}) }),
          withSignal(signal),
        );
        if (answer.ETag === undefined || answer.ContentLength === undefined)
          throw new StoreFault('the store gives no ETag or no Content-Length', { code: 'NoETag', retryable: false });
        return {
          size: answer.ContentLength,
          etag: answer.ETag,
          versionId: versionOf(answer.VersionId),
          mark: answer.Metadata?.[MARK] ?? null,
          sha256: fullSha256(answer.ChecksumSHA256, answer.ChecksumType),
        };
      }),
    get: (object, etag, offset, length, signal) =>
      faultsOf(async () => {
        const command = new GetObjectCommand({
          ...named(object),
          ...payer,
          Range: `bytes=${offset}-${offset + length - 1}`,
          ...(etag === null ? {} : { IfMatch: etag }),
        });
        const body = takeBody(command, wire, signal);
        const answer = await client.send(command, withSignal(signal));
        return {
          status: answer.$metadata.httpStatusCode ?? 0,
          contentRange: answer.ContentRange ?? null,
          etag: answer.ETag ?? null,
          // In Node the SDK's stream is a Readable.
          body: body() ?? streamBody(answer.Body as Readable),
        };
      }),
    list: (bucket, prefix, { flat, from }, signal) =>
      faultsOf(async () => {
        const answer = await client.send(
          new ListObjectsV2Command({
            Bucket: bucket,
            Prefix: prefix,
            ...(flat ? { Delimiter: '/' } : {}),
            ...(from === null ? {} : { ContinuationToken: from }),
            ...payer,
          }),
          withSignal(signal),
        );
        const objects = (answer.Contents ?? []).flatMap(({ Key, Size, LastModified }) =>
          Key === undefined || LastModified === undefined ? [] : [{ key: Key, size: Size ?? 0, modified: LastModified.getTime() }],
        );
        return { objects, next: answer.NextContinuationToken ?? null };
      }),
    put: ({ bucket, key }, body, { mark, condition }, signal) =>
      faultsOf(async () => {
        const answer = await client.send(
          new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, Metadata: { [MARK]: mark }, ...conditionOf(condition), ...payer }),
          withSignal(signal),
        );
        return needed(answer.ETag, 'ETag');
      }),
    createUpload: ({ bucket, key }, { mark, sums }, signal) =>
      faultsOf(async () => {
        const answer = await client.send(
          new CreateMultipartUploadCommand({
            Bucket: bucket,
            Key: key,
            Metadata: { [MARK]: mark },
            ...(sums === 'crc32' ? { ChecksumAlgorithm: 'CRC32' as const } : {}),
            ...payer,
          }),
          withSignal(signal),
        );
        return needed(answer.UploadId, 'UploadId');
      }),
    uploadPart: ({ bucket, key }, upload, number, body, sum, signal) =>
      faultsOf(async () => {
        const command = new UploadPartCommand({
          Bucket: bucket,
          Key: key,
          UploadId: upload,
          PartNumber: number,
          Body: body,
          ...(sum.kind === 'crc32' ? { ChecksumCRC32: sum.base64 } : { ContentMD5: sum.base64 }),
          ...payer,
        });
        command.middlewareStack.add(
          (next) => async (args) => {
            // Of the SDK's requests every one has headers.
            const { headers } = args.request as { headers: Record<string, string> };
            // What the signer finds here it takes: the part's checksum is signed in place of its bytes, as the SDK does for streams. A SHA-256
            // of all costs as much as sending it.
            headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
            // For a body that it asks leave to send, the SDK opens a connection of its own each time. Whether we may write at all, the store
            // has told when the upload was begun.
            delete headers['Expect'];
            return next(args);
          },
          { step: 'build' },
        );
        const answer = await client.send(command, withSignal(signal));
        return { number, size: body.length, etag: needed(answer.ETag, 'ETag'), crc32: answer.ChecksumCRC32 ?? null };
      }),
    copyPart: ({ bucket, key }, upload, number, { object, etag, offset, length }, signal) =>
      faultsOf(async () => {
        const version = object.versionId === null ? '' : `?versionId=${encodeURIComponent(object.versionId)}`;
        const { CopyPartResult: copied } = await client.send(
          new UploadPartCopyCommand({
            Bucket: bucket,
            Key: key,
            UploadId: upload,
            PartNumber: number,
            CopySource: `${object.bucket}/${object.key.split('/').map(encodeURIComponent).join('/')}${version}`,
            CopySourceRange: `bytes=${offset}-${offset + length - 1}`,
            CopySourceIfMatch: etag,
            ...payer,
          }),
          withSignal(signal),
        );
        return { number, size: length, etag: needed(copied?.ETag, 'ETag'), crc32: copied?.ChecksumCRC32 ?? null };
      }),
    listParts: ({ bucket, key }, upload, signal) =>
      faultsOf(async () => {
        const found: S3Part[] = [];
        for (let marker: string | undefined; ;) {
          const answer = await client.send(
            new ListPartsCommand({
              Bucket: bucket,
              Key: key,
              UploadId: upload,
              ...(marker === undefined ? {} : { PartNumberMarker: marker }),
              ...payer,
            }),
            withSignal(signal),
          );
          for (const { PartNumber, Size, ETag, ChecksumCRC32 } of answer.Parts ?? [])
            found.push({
              number: needed(PartNumber, 'PartNumber'),
              size: needed(Size, 'Size'),
              etag: needed(ETag, 'ETag'),
              crc32: ChecksumCRC32 ?? null,
            });
          marker = answer.NextPartNumberMarker;
          if (answer.IsTruncated !== true || marker === undefined) return found;
        }
      }),
    completeUpload: ({ bucket, key }, upload, parts, condition, signal) =>
      faultsOf(async () => {
        const answer = await client.send(
          new CompleteMultipartUploadCommand({
            Bucket: bucket,
            Key: key,
            UploadId: upload,
            MultipartUpload: {
              Parts: parts.map(({ number, etag, crc32 }) => ({
                PartNumber: number,
                ETag: etag,
                ...(crc32 === null ? {} : { ChecksumCRC32: crc32 }),
              })),
            },
            ...conditionOf(condition),
            ...payer,
          }),
          withSignal(signal),
        );
        return needed(answer.ETag, 'ETag');
      }),
    abortUpload: ({ bucket, key }, upload, signal) =>
      faultsOf(async () => {
        await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: upload, ...payer }), withSignal(signal));
      }),
    listUploads: ({ bucket, key }, signal) =>
      faultsOf(async () => {
        const { Uploads } = await client.send(
          new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key, ...payer }),
          withSignal(signal),
        );
        return (Uploads ?? []).flatMap(({ Key, UploadId, Initiated }) =>
          Key !== key || UploadId === undefined ? [] : [{ id: UploadId, initiated: Initiated?.getTime() ?? 0 }],
        );
      }),
    remove: ({ bucket, key }, signal) =>
      faultsOf(async () => {
        await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, ...payer }), withSignal(signal));
      }),
    close() {
      endGuard();
      client.destroy();
      wire.close();
    },
  };
}

/** What every S3 answers with; a page that some proxy sends with status 200 has none of it. */
function needed<T>(value: T | undefined, name: string): T {
  if (value !== undefined && value !== '') return value;
  throw new StoreFault(`the answer is no S3's: it has no ${name}`, { code: 'UnknownAnswer', status: 200, retryable: true });
}

function named({ bucket, key, versionId }: S3Object): { Bucket: string; Key: string; VersionId?: string } {
  return { Bucket: bucket, Key: key, ...(versionId === null ? {} : { VersionId: versionId }) };
}

function conditionOf(condition: WriteCondition): { IfMatch?: string; IfNoneMatch?: string } {
  if (condition.kind === 'match') return { IfMatch: condition.etag };
  return condition.kind === 'none' ? { IfNoneMatch: '*' } : {};
}

function withSignal(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

/** The version `null` of a bucket that stopped keeping versions is overwritten like any other object. */
function versionOf(id: string | undefined): string | null {
  return id === undefined || id === 'null' ? null : id;
}

/** `-3` at the end marks a checksum over the checksums of three parts. */
function fullSha256(base64: string | undefined, type: string | undefined): string | null {
  if (base64 === undefined || base64.includes('-') || type === 'COMPOSITE') return null;
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length === 32 ? bytes.toString('hex') : null;
}

async function configuredRegion(profile: S3Profile | null): Promise<string | null> {
  const probe = new S3Client(profile?.profile === undefined ? {} : { profile: profile.profile });
  try {
    return await probe.config.region();
  } catch {
    return null;
  } finally {
    probe.destroy();
  }
}

async function identityOf(profile: S3Profile | null, region: string): Promise<S3ClientConfig> {
  if (profile?.unsigned === true)
    return { credentials: { accessKeyId: '', secretAccessKey: '' }, signer: { sign: async (request) => request } };
  const { fromTemporaryCredentials, fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
  const role = profile?.role_arn;
  // The SDK asks once, and again where they expire or are asked for anew. Made anew each time, and from the files as they are: of both it would
  // keep what it has once read for as long as the process lives.
  const provider = () => {
    const own = fromNodeProviderChain({ ...(profile?.profile === undefined ? {} : { profile: profile.profile }), ignoreCache: true });
    if (role === undefined) return own;
    const params = { RoleArn: role, RoleSessionName: 'checkpoint-pipeline' };
    return fromTemporaryCredentials({ params, masterCredentials: own, clientConfig: { region } });
  };
  return { credentials: (properties) => provider()(properties) };
}

/**
 * Tells the endpoint that the SDK has resolved for its last request, whoever set it: it keeps one from the environment to itself.
 * Endpoints without names for buckets (this machine, and addresses in digits) are asked in path style, unless settings say.
 */
function watchEndpoint(client: S3Client, { preferPathStyle }: { readonly preferPathStyle: boolean }): () => string | undefined {
  const provide = client.config.endpointProvider;
  let seen: string | undefined;
  client.config.endpointProvider = (parameters, context) => {
    const { Endpoint: endpoint } = parameters as { readonly Endpoint?: string };
    seen = endpoint ?? seen;
    return provide(
      preferPathStyle && endpoint !== undefined && isBareHost(endpoint) ? { ...parameters, ForcePathStyle: true } : parameters,
      context,
    );
  };
  return () => seen;
}

function isBareHost(endpoint: string): boolean {
  const { hostname } = new URL(endpoint);
  return hostname === 'localhost' || hostname.endsWith('.localhost') || isIP(hostname.replace(/^\[|\]$/g, '')) !== 0;
}

async function configuredEndpoint(client: S3Client): Promise<string | undefined> {
  const found = await client.config.endpoint?.();
  if (found === undefined) return undefined;
  const port = found.port === undefined ? '' : `:${found.port}`;
  return `${found.protocol}//${found.hostname}${port}${found.path}`;
}

function customEndpoint(endpoint: string | undefined): { Endpoint?: string; ForcePathStyle?: boolean } {
  return endpoint === undefined ? {} : { Endpoint: endpoint, ForcePathStyle: true };
}

/** The SDK's exceptions as ours; the signal's reason and what is no failure of a request pass as they are. */
function faultOf(error: unknown): unknown {
  if (error instanceof StoreFault) return error;
  if (error instanceof S3ServiceException) {
    const status = error.$metadata.httpStatusCode ?? null;
    const headers = error.$response?.headers ?? {};
    return new StoreFault(oneLine(scrub(error.message)), {
      code: oneLine(error.name),
      status,
      retryable:
        THROTTLING.has(error.name) ||
        EXPIRED.test(error.name) ||
        // An answer to HEAD has no code; that it was the clock, the SDK tells by its date.
        ('clockSkewCorrected' in error.$metadata && error.$metadata.clockSkewCorrected === true) ||
        (status !== null && isRetryableStatus(status)),
      retryAfterMs: retryAfter(headers['retry-after']),
      region: headers['x-amz-bucket-region'],
    });
  }
  const { name, message } = error as { name?: string; message?: string };
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError')
    return new StoreFault(scrub(message ?? ''), { code: 'NoCredentials', retryable: false });
  // The SDK keeps of an error of another realm, as the system's are under a test runner, the text alone.
  const wrapped = /^AWS SDK error wrapper for (?:.*\b(E[A-Z]{4,})\b|Error: (aborted)$)/.exec(message ?? '');
  const network = networkFault(wrapped === null ? error : { code: wrapped[1] ?? 'ECONNRESET', message });
  if (network !== null) return network;
  if (name === 'TimeoutError') return new StoreFault(message ?? 'the store cannot be reached', { code: 'ConnectTimeout', retryable: true });
  // An answer that is no S3's: the page of a proxy, or XML that breaks off.
  const { $response: response } = error as { readonly $response?: { readonly statusCode?: number } };
  const status = response?.statusCode;
  if (status === undefined) return error;
  return new StoreFault(
    `the answer is no S3's: ${
      scrub(message ?? '')
        .split('\n')[0]
        ?.slice(0, 200) ?? ''
    }`,
    {
      code: 'UnknownAnswer',
      status,
      retryable: status === 200 || isRetryableStatus(status),
      cause: error,
    },
  );
}

/** Ids of access keys are no secrets, but nobody wants them in a history either. */
function scrub(text: string): string {
  return text.replace(/\b(AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b/g, '$1…');
}
