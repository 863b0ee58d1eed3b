/** This machine's clock against another's. Pure. */
import { fine, problem, warning, type Finding } from './finding.ts';

/** Milliseconds of difference that a person should hear of: times in the UI and in manifests are not comparable any more. */
const WARN = 5000;

/**
 * `other` was read there between `before` and `after` here, and is exact to `resolution` (all in milliseconds); beyond `refused` of
 * difference the other takes no requests.
 */
export function clockFinding(
  where: string,
  { before, other, after }: { readonly before: number; readonly other: number; readonly after: number },
  { resolution = 0, refused = Infinity }: { readonly resolution?: number; readonly refused?: number } = {},
): Finding {
  const ahead = Math.max(0, before - other - resolution);
  const behind = Math.max(0, other - after);
  const skew = Math.max(ahead, behind);
  if (skew < WARN) return fine('clock', `agrees with ${where}`);
  const message = `this machine's clock is ${seconds(skew)} ${ahead > 0 ? 'ahead of' : 'behind'} ${where}`;
  const advice = 'Keep the clocks of both machines in time (NTP: `timedatectl` tells, `chronyc tracking` too).';
  if (skew < refused / 2) return warning('clock', message, advice);
  return problem('clock', `${message}; beyond ${seconds(refused)} it refuses requests`, advice);
}

function seconds(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}
