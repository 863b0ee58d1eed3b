/** What a run has published, held ready for its own report, which mostly follows on the same worker; the manifest says it for good. */
import type { ManifestContent } from '../src/io/publish/manifest.ts';
import type { Services } from './services.ts';

/** Bytes for each tensor, beside what its plan holds: a digest and its place. */
const ENTRY = 100;

type Recent = Pick<Services, 'recent'>;

const keyOf = (runId: string, uri: string): string => `published ${runId} ${uri}`;

export function keepPublished({ recent }: Recent, runId: string, uri: string, content: ManifestContent): void {
  recent.keep(keyOf(runId, uri), content, ENTRY * content.tensors.length);
}

/** Once: nobody else asks for it. */
export function takePublished({ recent }: Recent, runId: string, uri: string): ManifestContent | undefined {
  const key = keyOf(runId, uri);
  const content = recent.get(key);
  recent.forget(key);
  // Kept by `keepPublished` alone.
  return content as ManifestContent | undefined;
}
