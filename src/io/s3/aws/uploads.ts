/** Uploads in parts as the SDK makes them. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type { S3Part, S3Port } from '../port.ts';
import { conditionOf, MARK, needed, withSignal, type Requests } from './requests.ts';

type Uploads = Pick<S3Port, 'createUpload' | 'uploadPart' | 'copyPart' | 'listParts' | 'completeUpload' | 'abortUpload' | 'listUploads'>;

export function uploadsOf({ client, payer, faultsOf }: Requests): Uploads {
  return {
    createUpload: ({ bucket, key }, { mark, sums }, signal) =>
      faultsOf('s3:PutObject on this key', async () => {
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
      faultsOf('s3:PutObject on this key', async () => {
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
      faultsOf('s3:PutObject on this key, and s3:GetObject on the one that is copied', async () => {
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
      faultsOf('s3:ListMultipartUploadParts on this key', async () => {
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
      faultsOf('s3:PutObject on this key', async () => {
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
      faultsOf('s3:AbortMultipartUpload on this key', async () => {
        await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: upload, ...payer }), withSignal(signal));
      }),
    listUploads: ({ bucket, key }, signal) =>
      faultsOf('s3:ListBucketMultipartUploads on the bucket', async () => {
        const { Uploads } = await client.send(
          new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key, ...payer }),
          withSignal(signal),
        );
        return (Uploads ?? []).flatMap(({ Key, UploadId, Initiated }) =>
          Key !== key || UploadId === undefined ? [] : [{ id: UploadId, initiated: Initiated?.getTime() ?? 0 }],
        );
      }),
  };
}
