/** What requests for objects and for uploads have in common. */
import type { S3Client } from '@aws-sdk/client-s3';
import { StoreFault } from '../../store-fault.ts';
import type { WriteCondition } from '../port.ts';

/** How requests of one connection are made. */
export interface Requests {
  readonly client: S3Client;
  /** Goes with every request. */
  readonly payer: { readonly RequestPayer?: 'requester' };
  /** Throws what the SDK throws as a fault of ours, for want of a permission perhaps. */
  readonly faultsOf: <T>(permission: string, work: () => Promise<T>) => Promise<T>;
}

/** Name of the user metadata that holds a writer's mark. */
export const MARK = 'checkpoint-pipeline';

/** What every S3 answers with; a page that some proxy sends with status 200 has none of it. */
export function needed<T>(value: T | undefined, name: string): T {
  if (value !== undefined && value !== '') return value;
  throw new StoreFault(`the answer is not S3's: it has no ${name}`, { code: 'UnknownAnswer', status: 200, retryable: true });
}

export function conditionOf(condition: WriteCondition): { IfMatch?: string; IfNoneMatch?: string } {
  if (condition.kind === 'match') return { IfMatch: condition.etag };
  return condition.kind === 'none' ? { IfNoneMatch: '*' } : {};
}

export function withSignal(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}
