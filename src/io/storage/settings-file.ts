/** The file that holds a worker's storage settings. Loaded only where there is one: its parsers take longer to load than most commands to run. */
import { readFile } from 'node:fs/promises';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { CheckpointConfigError } from '../../errors.ts';
import { discreetIssueWords } from '../../model/issue-words.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { ended } from '../../model/text.ts';
import { yamlWords } from '../../model/yaml-words.ts';
import { utf8Text } from '../utf8.ts';

const endpoint = z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL', abort: true }).refine((url) => {
  const { username, password } = new URL(url);
  return username === '' && password === '';
}, 'credentials do not belong into a URL; name an AWS `profile`');

const pattern = z.string().regex(/^[A-Za-z0-9*][A-Za-z0-9._*-]*$/, 'expected the name of a bucket, `*` for any part of it');

const s3Profile = z.strictObject({
  buckets: z.array(pattern).min(1).describe('the first profile with a fitting bucket is taken; `*` stands for any part of a name'),
  endpoint: endpoint.describe('URL of a store that is not AWS').optional(),
  region: z.string().min(1).describe('default: as the AWS SDK finds it').optional(),
  profile: z.string().min(1).describe('of the AWS configuration: whose credentials').optional(),
  role_arn: z
    .string()
    .regex(/^arn:[^:]+:iam::/, 'expected the ARN of an IAM role')
    .describe('a role to assume')
    .optional(),
  path_style: z.boolean().describe('http://host/bucket/key in place of http://bucket.host/key').optional(),
  requester_pays: z.boolean().describe('we pay for reading').optional(),
  unsigned: z.boolean().describe('a public bucket: no credentials').optional(),
});
export type S3Profile = z.infer<typeof s3Profile>;

const fence = z.strictObject({
  roots: z
    .array(z.string().min(1))
    .describe('folders that may be read from and published to, with all below them; default: all')
    .optional(),
  buckets: z
    .array(z.string().regex(/^[A-Za-z0-9*][A-Za-z0-9._*-]*(\/.*)?$/, 'expected a bucket, or bucket/prefix'))
    .describe('buckets, or `bucket/prefix`; default: all')
    .optional(),
  private_addresses: z.boolean().describe('HTTP to this machine and to private networks').optional(),
});
export type Fence = z.infer<typeof fence>;

/** What the file may say; the reference in docs/ is made from it. */
export const settingsSchema = z.strictObject({
  s3: z.array(s3Profile).default([]),
  allow: fence.default({}),
  http: z
    .strictObject({
      cache_dir: z.string().min(1).describe('of files from servers without ranges; default: in the cache folder').optional(),
      cache_bytes: z.int().positive().describe('most bytes of them; default 64 GiB').optional(),
    })
    .default({}),
});
export type StorageSettings = z.infer<typeof settingsSchema>;

/** Reads the YAML or JSON file that `CKPT_STORAGE` or `--storage` names. */
export async function readStorageFile(path: string): Promise<StorageSettings> {
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new CheckpointConfigError(`The storage settings ${path} cannot be read: ${cause.message}.`, undefined, { cause });
  });
  return checkSettings(contentOf(utf8Text(bytes, path), path) ?? {}, path);
}

/** Nothing of the text is repeated where it cannot be read: the parser's own messages quote it. */
function contentOf(text: string, path: string): unknown {
  const lines = new LineCounter();
  const yaml = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [broken] = yaml.errors;
  if (broken !== undefined) {
    const { message, offset } = yamlWords(broken, text, `This is not YAML: ${broken.code.toLowerCase().replaceAll('_', ' ')}.`);
    const { line, col } = lines.linePos(offset);
    throw new CheckpointConfigError(`The storage settings ${path} are wrong at line ${line}, column ${col}: ${message}`);
  }
  try {
    return yaml.toJS();
  } catch {
    throw new CheckpointConfigError(`The storage settings ${path} have an alias (\`*name\`) that stands for nothing, or for too much.`);
  }
}

/** Values, or a `CheckpointConfigError` at `s3[0].endpoint`; what a wrong entry held is not repeated, as it may be a secret. */
export function checkSettings(content: unknown, path: string): StorageSettings {
  const parsed = settingsSchema.safeParse(content, { error: discreetIssueWords });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  if (issue.path.length === 0 && issue.code === 'invalid_type')
    throw new CheckpointConfigError(
      `The storage settings ${path} are wrong: ${ended(issue.message)} Its keys are ${Object.keys(settingsSchema.shape).join(', ')}.`,
      '',
    );
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const keys = [...issue.path, ...(unknown === undefined ? [] : [unknown])];
  const at = keys
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
  const known = unknown === undefined ? [] : knownAt(issue.path);
  const why =
    unknown === undefined
      ? ended(issue.message)
      : `there is no such setting.${secretHint(unknown) || didYouMean(unknown, known)} Known: ${known.join(', ')}.`;
  throw new CheckpointConfigError(`The storage settings ${path} are wrong at \`${at}\`: ${why}`, at);
}

function knownAt(path: readonly PropertyKey[]): readonly string[] {
  if (path[0] === 's3') return Object.keys(s3Profile.shape);
  if (path[0] === 'allow') return Object.keys(fence.shape);
  if (path[0] === 'http') return ['cache_dir', 'cache_bytes'];
  return Object.keys(settingsSchema.shape);
}

function secretHint(key: string): string {
  return /key|secret|token|password/i.test(key)
    ? ' Credentials come from the AWS default chain, or from an AWS profile named by `profile`, never from this file.'
    : '';
}
