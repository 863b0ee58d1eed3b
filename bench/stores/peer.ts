/** What anybody would do by hand: GetObject | PutObject of the same bytes, in one process. Arguments: bucket, key, and the key to write. Prints the milliseconds of the exchange alone. */
import type { Readable } from 'node:stream';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

const [bucket, from, to] = process.argv.slice(2);
// Without it the SDK would put the stream into chunks of its own with a checksum behind, and stores refuse small ones.
const client = new S3Client({ forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' });
const began = performance.now();
const { Body, ContentLength } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: from }));
// In Node the SDK's stream is a Readable.
await client.send(new PutObjectCommand({ Bucket: bucket, Key: to, Body: Body as Readable, ContentLength }));
process.stdout.write(`${performance.now() - began}\n`);
client.destroy();
