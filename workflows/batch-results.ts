/** What a batch leaves behind when it ends: its results, and a report beside them. */
import { CancellationScope } from '@temporalio/workflow';
import type { ErrorReport } from '../src/errors.ts';
import { BATCH_REPORT_ACTIVITY, FINISH_ACTIVITY, type BatchResult } from '../src/pipeline/batch.ts';
import type { Ledger } from './batch-ledger.ts';
import type { BatchList } from './batch-list.ts';
import { isOwn, reportOfFailure } from './failures.ts';
import { listing, reporting, type placing } from './proxies.ts';

/** Whose results they are, and where they are wanted. */
export interface Wanted {
  readonly workspace: string | null;
  /** Null: there. */
  readonly results: string | null;
  readonly batch: string;
  readonly run: string;
}

export interface Placed {
  readonly results: string;
  /** Why they could not be put where they were wanted: then they lie in the workspace. */
  readonly error: ErrorReport | null;
}

/** There is a list. `atPlace`: the activities for the place where they are wanted. */
export async function placeResults(
  { results: place, ...batch }: Wanted,
  list: BatchList,
  ledger: Ledger,
  atPlace: typeof placing,
): Promise<Placed> {
  await ledger.flush();
  const { index, next, page, offset } = list.standing();
  const rest = list.left() > 0 ? { rest: { list: index, index: next, page, offset } } : {};
  const put = (activities: typeof placing, results: string | null): Promise<string> =>
    activities[FINISH_ACTIVITY]({ ...batch, part: ledger.tip(), ...rest, results });
  if (place === null) return { results: await put(listing, null), error: null };
  try {
    return { results: await put(atPlace, place), error: null };
  } catch (thrown) {
    if (!isOwn(thrown)) throw thrown;
    return { results: await put(listing, null), error: reportOfFailure(thrown) };
  }
}

type Records = Parameters<(typeof reporting)[typeof BATCH_REPORT_ACTIVITY]>[0]['records'];

/** What happens to a report is not the batch's failure, nor is a cancellation that comes now its end. */
export async function leaveReport(wanted: Wanted, records: Records): Promise<Pick<BatchResult, 'report' | 'report_error'>> {
  try {
    return { report: await CancellationScope.nonCancellable(() => reporting[BATCH_REPORT_ACTIVITY]({ ...wanted, records })) };
  } catch (thrown) {
    if (!isOwn(thrown)) throw thrown;
    return { report_error: reportOfFailure(thrown).message.slice(0, 300) };
  }
}
