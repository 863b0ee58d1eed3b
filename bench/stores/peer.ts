/** What anybody would do by hand: GetObject | PutObject of the same bytes, in one process. Arguments: bucket, key, and the key to write. */
import type { Readable } from 'node:stream';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

const [bucket, from, to] = process.argv.slice(2);
const client = new S3Client({ forcePathStyle: true });
const { Body, ContentLength } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: from }));
// In Node the SDK's stream is a Readable.
await client.send(new PutObjectCommand({ Bucket: bucket, Key: to, Body: Body as Readable, ContentLength }));
client.destroy();
