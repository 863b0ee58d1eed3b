/** URLs that may be kept: in a run's input, its history, a manifest. One that is a credential may not. */
import { CheckpointConfigError } from '../../errors.ts';

/** Parameters of queries that are credentials by themselves: signed URLs of the usual stores, and tokens. */
const SECRET_PARAMETERS =
  /^((x-(amz|goog|oss|obs|cos)-)?(signature|credential|security-token)|sig|sign|(aws|oss)?accesskeyid|googleaccessid|key-pair-id|(access|id|refresh|auth|session|private|bearer)?[_-]?token|(api|access|secret|private)[_-]?key|secret|client[_-]?secret|password|passwd|pwd|auth|authorization|jwt)$/i;

export function isHttp(uri: string): boolean {
  return /^https?:\/\//i.test(uri);
}

/** The URL as it may be kept and shown; one that is no HTTP or holds a credential is a `CheckpointConfigError` that does not repeat it. */
export function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '')
    throw new CheckpointConfigError(`${withoutSecrets(text)} is no http:// or https:// URL.`);
  if (url.username !== '' || url.password !== '')
    throw new CheckpointConfigError(
      `${url.origin}${url.pathname}: a user name or password does not belong into a URL, which is kept in the run's history.`,
    );
  const secret = [...url.searchParams.keys()].find((name) => SECRET_PARAMETERS.test(name));
  if (secret !== undefined)
    throw new CheckpointConfigError(
      `${url.origin}${url.pathname}: the parameter \`${secret}\` is a credential, and URLs are kept in the run's history. For S3 stores use source.s3 with the worker's own credentials.`,
    );
  url.hash = '';
  return url.href;
}

function withoutSecrets(text: string): string {
  return text
    .replace(/\/\/[^/@]*@/, '//')
    .replace(/\?.*$/s, '')
    .slice(0, 200);
}
