/** What the server itself tells of a run's activities under way: the last heartbeat, and what failed before. */
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { within } from '../model/text.ts';
import type { Retrying, TransferProgress } from '../pipeline/contract.ts';

/** Bytes of a failure that are shown. */
const MOST_ERROR = 300;

type Described = Pick<WorkflowExecutionDescription, 'raw'>;

/** What the last heartbeat says; null where it is not a transfer's. */
export function transferOf({ raw }: Described): TransferProgress | null {
  const [details] = raw.pendingActivities?.[0]?.heartbeatDetails?.payloads ?? [];
  const { offset, size } = (details == null ? null : valueOf(details)) ?? {};
  return typeof offset === 'number' && typeof size === 'number' ? { offset, size } : null;
}

/** Null where it is nothing, or a codec of whoever started the run has made it unreadable. */
function valueOf(payload: Payload): Partial<TransferProgress> | null {
  try {
    return defaultPayloadConverter.fromPayload<Partial<TransferProgress> | undefined>(payload) ?? null;
  } catch {
    return null;
  }
}

type Pending = NonNullable<Described['raw']['pendingActivities']>[number];

/** Of several, what is paused, else what has failed most often; null where nothing is held up. */
export function retryingOf({ raw }: Described): Retrying | null {
  const [first] = (raw.pendingActivities ?? [])
    .filter(({ attempt, lastFailure, paused }) => paused === true || ((attempt ?? 1) > 1 && lastFailure != null))
    .toSorted((a, b) => Number(b.paused === true) - Number(a.paused === true) || (b.attempt ?? 1) - (a.attempt ?? 1));
  if (first === undefined) return null;
  const message = first.lastFailure?.message ?? '';
  const shown = within(message, MOST_ERROR);
  const error = shown.length < message.length ? `${shown}…` : message;
  return { activity: first.activityType?.name ?? '', attempt: first.attempt ?? 1, error, ...pausedOf(first) };
}

function pausedOf({ paused, pauseInfo }: Pending): Pick<Retrying, 'paused'> {
  if (paused !== true) return {};
  const { identity, reason } = pauseInfo?.manual ?? pauseInfo?.rule ?? {};
  return { paused: { by: identity || null, reason: reason || null } };
}
