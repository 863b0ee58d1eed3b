/** Objects as the SDK reads, writes and lists them. */
import type { Readable } from 'node:stream';
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { StoreFault } from '../../store-fault.ts';
import type { Wire } from '../../wire/pool.ts';
import { streamBody } from '../../wire/range-body.ts';
import { LISTING_CUT, type S3Object, type S3Port } from '../port.ts';
import { conditionOf, MARK, needed, withSignal, type Requests } from './requests.ts';
import { takeBody } from './take-body.ts';

type Objects = Pick<S3Port, 'head' | 'get' | 'list' | 'put' | 'remove'>;

/** `wire`: what brings the bytes of ranges. */
export function objectsOf({ client, payer, faultsOf }: Requests, wire: Wire): Objects {
  return {
    head: (object, options, signal) =>
      faultsOf('s3:GetObject on this key', async () => {
        const answer = await client.send(
          new HeadObjectCommand({ ...named(object), ...payer, ...(options.checksum ? { ChecksumMode: 'ENABLED' } : {}) }),
          withSignal(signal),
        );
        if (answer.ETag === undefined || answer.ContentLength === undefined)
          throw new StoreFault(
            'the answer to HEAD has no ETag or no Content-Length, without which the object cannot be pinned. Look for a proxy or cache on the way that leaves them out',
            { code: 'NoETag', retryable: false },
          );
        return {
          size: answer.ContentLength,
          etag: answer.ETag,
          versionId: versionOf(answer.VersionId),
          mark: answer.Metadata?.[MARK] ?? null,
          sha256: fullSha256(answer.ChecksumSHA256, answer.ChecksumType),
        };
      }),
    get: (object, etag, offset, length, signal) =>
      faultsOf('s3:GetObject on this key', async () => {
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
      faultsOf('s3:ListBucket on the bucket', async () => {
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
        // What an entry leaves out would be missing from what is made of the listing, and nobody would see it.
        const objects = (answer.Contents ?? []).map(({ Key, Size, LastModified }) => ({
          key: needed(Key, 'Key in an entry of its listing'),
          size: needed(Size, 'Size in an entry of its listing'),
          modified: needed(LastModified, 'LastModified in an entry of its listing').getTime(),
        }));
        const next = answer.NextContinuationToken || null;
        if (next === null && answer.IsTruncated === true) throw cutListing();
        return { objects, next };
      }),
    put: ({ bucket, key }, body, { mark, condition }, signal) =>
      faultsOf('s3:PutObject on this key', async () => {
        const answer = await client.send(
          new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, Metadata: { [MARK]: mark }, ...conditionOf(condition), ...payer }),
          withSignal(signal),
        );
        return needed(answer.ETag, 'ETag');
      }),
    remove: ({ bucket, key }, signal) =>
      faultsOf('s3:DeleteObject on this key', async () => {
        await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, ...payer }), withSignal(signal));
      }),
  };
}

function cutListing(): StoreFault {
  return new StoreFault(
    'the store says that its listing goes on, but gives no NextContinuationToken to ask for the rest with: it does not know ListObjectsV2. Name single objects, or use a store that does',
    { code: LISTING_CUT, status: 200, retryable: false },
  );
}

function named({ bucket, key, versionId }: S3Object): { Bucket: string; Key: string; VersionId?: string } {
  return { Bucket: bucket, Key: key, ...(versionId === null ? {} : { VersionId: versionId }) };
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
