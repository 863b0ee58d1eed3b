/**
 * What anybody would do by hand, in one process. Arguments: `pass` (GetObject | PutObject) or `copy` (the store copies parts of the
 * object and puts them together), bucket, key, and the key to write. Prints the milliseconds of the exchange alone.
 */
import type { Readable } from 'node:stream';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';

/** Bytes of a part that the store copies. */
const PART = 64 * 1024 * 1024;

const [how, bucket, from, to] = process.argv.slice(2);
// Without it the SDK would put the stream into chunks of its own with a checksum behind, and stores refuse small ones.
const client = new S3Client({ forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' });
const began = performance.now();
await (how === 'copy' ? copy() : pass());
process.stdout.write(`${performance.now() - began}\n`);
client.destroy();

async function pass(): Promise<void> {
  const { Body, ContentLength } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: from }));
  // In Node the SDK's stream is a Readable.
  await client.send(new PutObjectCommand({ Bucket: bucket, Key: to, Body: Body as Readable, ContentLength }));
}

async function copy(): Promise<void> {
  const { ContentLength: size = 0 } = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: from }));
  const upload = { Bucket: bucket, Key: to };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(upload));
  const Parts = await Promise.all(
    Array.from({ length: Math.ceil(size / PART) }, async (_, index) => {
      const PartNumber = index + 1;
      const CopySourceRange = `bytes=${index * PART}-${Math.min(size, PartNumber * PART) - 1}`;
      const { CopyPartResult } = await client.send(
        new UploadPartCopyCommand({ ...upload, UploadId, PartNumber, CopySource: `${bucket}/${from}`, CopySourceRange }),
      );
      return { PartNumber, ETag: CopyPartResult?.ETag };
    }),
  );
  await client.send(new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts } }));
}
